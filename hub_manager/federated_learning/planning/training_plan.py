"""Resolve the training plan of a run: the image's default, another file of the image, or a text. Pure.

A text comes from a ConfigMap in the run's namespace, and is fixed for an attempt before any cluster is asked. Its
digest is part of the attempt's hash, and the text is copied into an immutable ConfigMap of the run. The hub exports
from that copy, and the clusters approve that copy, so later edits affect only the next attempt. An edit before the
cohort is fixed counts as a changed spec: it starts another attempt, and the clusters are asked again.
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
"""Number of keys of a ConfigMap that a message names at most."""


@dataclass(frozen=True, slots=True)
class KnownPlan:
    """The plan of this attempt; None selects the image's default plan."""

    plan: RunPlan | None
    copied: bool = True
    """Whether the run's copy of the text exists; no cluster is asked before that."""


@dataclass(frozen=True, slots=True)
class UnreadPlan:
    """State of a plan whose ConfigMap has not been read yet."""


TrainingPlanState = KnownPlan | UnreadPlan | SpecFault


def training_plan(observed: ObservedRun, fixed: str) -> TrainingPlanState:
    """Return the plan of this attempt, or why it is not known.

    Args:
        observed: The observed run.
        fixed: Digest of the text that the attempt started with; `""` if none is fixed.
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
    """Return the digest of the current text of the ConfigMap; `""` if it is missing or invalid."""
    source = _source(observed) if plan_source_key(observed.run) is not None else UnreadPlan()
    return digest_of_text(source) if isinstance(source, str) else ""


def copied_plan_text(copy: ConfigMap | None) -> str:
    """Return the text of the run's copy; `""` if the copy is missing or being deleted."""
    return "" if copy is None or copy.metadata.deleting else copy.data.get(COPIED_KEY, "")


def digest_of_text(text: str) -> str:
    """Return the digest of a plan's text for `SpecHash.plan`; `""` for an empty text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32] if text else ""


def _source(observed: ObservedRun) -> str | UnreadPlan | SpecFault:
    """Return the text of the ConfigMap, or why it is unavailable.

    PlanNotFound: the ConfigMap is missing, or has no text under the key. PlanTooLarge: the text exceeds the limit of a
    Collaborator.
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
