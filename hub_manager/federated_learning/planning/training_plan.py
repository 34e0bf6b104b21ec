"""By which plan a run goes, on the hub and at every site: the image's own, another of its files, or a text. Pure.

A text is that of a ConfigMap in the run's namespace. It is fixed for an attempt before any site is asked: its digest
is part of the attempt's recipe, and the text itself is copied into a ConfigMap of the run's own that can't be changed.
What the hub exports from and what the sites have approved is that copy; who edits the ConfigMap afterwards changes the
next attempt. Before the cohort is fixed an edit is one of the spec: another attempt is made, the sites are asked anew.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from federation.api.collaborator import PLAN_LIMIT, RunPlan
from federation.api.kubernetes.core import ConfigMap
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning.validate import FaultReason, SpecFault
from hub_manager.federated_learning.resources.names import COPIED_KEY, plan_source_key

_NAMED: Final = 5
"""How many of a ConfigMap's keys a message names."""


@dataclass(frozen=True, slots=True)
class KnownPlan:
    """The plan of this attempt; None means the image's own."""

    plan: RunPlan | None
    copied: bool = True
    """Whether the run's own copy of the text is there; until then no site is asked."""


@dataclass(frozen=True, slots=True)
class UnreadPlan:
    """The ConfigMap has not been looked for yet."""


TrainingPlanState = KnownPlan | UnreadPlan | SpecFault


def training_plan(observed: ObservedRun, fixed: str) -> TrainingPlanState:
    """By which plan this attempt goes, or what keeps that from being known.

    Args:
        observed: What was read.
        fixed: The digest of the text that the attempt was started with, `""` where none is fixed.
    """
    named = observed.run.spec.server.plan
    if named is None or not named.config_map:
        return KnownPlan(RunPlan(file=named.path) if named is not None and named.path else None)
    copied = copied_plan_text(observed.plan_copy)
    if fixed and digest_of_text(copied) == fixed:
        return KnownPlan(RunPlan(text=copied))
    source = _source(observed)
    if isinstance(source, str):
        if digest_of_text(source) == fixed:
            return KnownPlan(RunPlan(text=source), copied=False)
        remedy = "restore the text that this attempt started with, or change the spec to start a new attempt"
        return SpecFault(FaultReason.PLAN_NOT_FOUND, "spec.server.plan.configMap", remedy)
    return source


def source_digest(observed: ObservedRun) -> str:
    """The digest of the text that the ConfigMap has now; `""` where the run names none, or it can't be used."""
    source = _source(observed) if plan_source_key(observed.run) is not None else UnreadPlan()
    return digest_of_text(source) if isinstance(source, str) else ""


def copied_plan_text(copy: ConfigMap | None) -> str:
    """The text of the run's own copy; `""` where there is none, or it is on its way out."""
    return "" if copy is None or copy.metadata.deleting else copy.data.get(COPIED_KEY, "")


def digest_of_text(text: str) -> str:
    """What names a text in an attempt's recipe; `""` for none."""
    return hashlib.sha256(text.encode()).hexdigest()[:32] if text else ""


def _source(observed: ObservedRun) -> str | UnreadPlan | SpecFault:
    """The ConfigMap's text, or why it can't be used.

    PlanNotFound: there is no such ConfigMap, or it has no text of that key. PlanTooLarge: it has more bytes than a
    Collaborator carries.
    """
    named, source = observed.run.spec.server.plan, observed.plan_source
    if named is None or source is None:
        return UnreadPlan()
    where = f"ConfigMap {named.config_map} in namespace {observed.run.metadata.namespace}"
    if source.config_map is None:
        remedy = f"create the {where} with the plan under the key {named.key}"
        return SpecFault(FaultReason.PLAN_NOT_FOUND, "spec.server.plan.configMap", remedy)
    text = source.config_map.data.get(named.key, "")
    if not text:
        keys = ", ".join(sorted(source.config_map.data)[:_NAMED]) or "none"
        remedy = f"write the plan into the {where} under the key {named.key}; its keys are: {keys}"
        return SpecFault(FaultReason.PLAN_NOT_FOUND, "spec.server.plan.key", remedy)
    if (size := len(text.encode())) > PLAN_LIMIT:
        remedy = (
            f"shorten the plan in the {where} from {size} to {PLAN_LIMIT} bytes, or add it to the image and "
            "set spec.server.plan.path"
        )
        return SpecFault(FaultReason.PLAN_TOO_LARGE, "spec.server.plan.configMap", remedy)
    return text
