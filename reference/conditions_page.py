"""`docs/reference/conditions.md`: every condition and state, and each reason with its meaning."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import Final

from federation.api import collaborator, dataset, run_status
from federation.rpc.refusal import ANSWERS as CALL_ANSWERS
from federation.rpc.refusal import CallReason, Remedy
from hub_manager.addon import status as addon_status
from hub_manager.addon.configuration import ConfigurationReason
from hub_manager.aggregator.config import ConfigError
from hub_manager.aggregator.exchange.status_codes import ANSWERS as UPDATE_ANSWERS
from hub_manager.aggregator.rounds.records import Failure
from hub_manager.aggregator.storage.initial_model import ModelUnusable
from hub_manager.aggregator.validation import refusal as updates
from hub_manager.certificates import refusal as certificates
from hub_manager.federated_learning import site
from hub_manager.federated_learning.planning import cohort, conditions
from hub_manager.federated_learning.planning.validate import FaultReason
from reference.docstrings import meaning, member_meanings, summary
from reference.markdown import code, page, paragraph, sentence, table
from runtimes.kit import failure
from spoke_agent.claims import validation
from spoke_agent.collaborator import admission, status

Meanings = Mapping[str, str]
_OF_CONDITIONS: Final = re.compile(r"([A-Z][A-Za-z]+(?:, [A-Z][A-Za-z]+)*): (.*)")
"""How the docstring of a run's reason begins: with the conditions that it is a reason of."""
_WHERE: Final = re.compile(r" \(`[\w.]+`\)\.?$")
"""How the docstring of a call's reason ends: with the place in the code that yields it."""
_SITE_REASONS: Final = (
    (cohort, "NOT_ACCEPTED"),
    (cohort, "NOT_CHOSEN"),
    (cohort, "DATA_UNNAMED"),
    (site, "NOT_APPLIED"),
)
_OF_EXPORT: Final = (
    failure.Reason.SETTINGS_REFUSED,
    failure.Reason.PLAN_REFUSED,
    failure.Reason.WORKSPACE_FAILED,
)
"""Why the export of the workspace on the hub fails: it joins no aggregator."""


def conditions_page() -> str:
    """The page."""
    opening = paragraph(
        "Where to look, and what is said there. A condition's message has the particulars and, where somebody can do "
        "something, the remedy. The fields themselves are in [api.md](api.md)."
    )
    return page(
        "Conditions and reasons",
        opening,
        *_run(),
        *_collaborator(),
        *_dataset(),
        *_addon(),
        *_certificate_requests(),
        *_aggregator(),
    )


def _run() -> Iterator[str]:
    yield "## FederatedLearning"
    yield paragraph("`status.phase`, made of the conditions for a reader; nothing is decided by it:")
    yield _reasons("phase", member_meanings(run_status.Phase))
    own = by_condition(conditions.Reason)
    own[run_status.SCHEDULED] |= member_meanings(FaultReason)
    own[run_status.FAILED] |= _ends()
    for name in run_status.CONDITIONS:
        yield f"### FederatedLearning {name}"
        yield paragraph(_of_constant(run_status, name))
        yield _reasons("reason", own[name])
    yield "### FederatedLearning clusters"
    yield paragraph("`status.clusters[].state`, by the hub manager:")
    yield _reasons("state", member_meanings(run_status.ClusterState))
    yield paragraph(
        "`status.clusters[].reason` is the site's own, one of those of [Collaborator](#collaborator), or the hub's:"
    )
    yield _reasons("reason", {getattr(module, name): meaning(module, name) for module, name in _SITE_REASONS})


def _ends() -> Meanings:
    """Why an aggregator gives a run up, and why its workspace can't be exported."""
    unusable = {error.__name__: summary(error) for error in (ConfigError, ModelUnusable)}
    exporting = member_meanings(failure.Reason)
    return (
        member_meanings(Failure)
        | unusable
        | {
            reason.value: f"{exporting[reason.value]} This is the hub's export, before any round."
            for reason in _OF_EXPORT
        }
    )


def _collaborator() -> Iterator[str]:
    yield "## Collaborator"
    yield paragraph("`status.state`:")
    yield _reasons("state", member_meanings(collaborator.CollaboratorState))
    for name, reasons in (
        (collaborator.ACCEPTED, member_meanings(admission.Reason)),
        (f"{collaborator.RUNNING}, {collaborator.FINISHED}", member_meanings(status.Reason)),
    ):
        yield f"### Collaborator {name}"
        yield paragraph(" ".join(_of_constant(collaborator, each) for each in name.split(", ")))
        yield _reasons("reason", reasons)
    yield "### Collaborator exit"
    yield paragraph(
        "`status.exit.reason`, the reason of `Finished` too once the Job has failed: what OpenFL's runtime says, with "
        "the process's exit status. Other runtimes, the kubelet (`OOMKilled`) and the Job (`DeadlineExceeded`) have "
        "words of their own."
    )
    rows = [
        (code(reason.value), str(int(failure.EXIT_CODES[reason])), sentence(told))
        for reason, told in zip(failure.Reason, member_meanings(failure.Reason).values(), strict=True)
    ]
    yield table(("reason", "exit status", "meaning"), rows)


def _dataset() -> Iterator[str]:
    yield "## Dataset"
    yield f"### Dataset {dataset.PUBLISHED}"
    yield paragraph(_of_constant(dataset, dataset.PUBLISHED))
    yield _reasons("reason", member_meanings(validation.Reason))


def _addon() -> Iterator[str]:
    yield "## ManagedClusterAddOn"
    yield paragraph("OCM's own conditions, and what to do about each, are in [enable.md](../enable.md).")
    yield f"### ManagedClusterAddOn {addon_status.CONFIGURATION_ACCEPTED}"
    yield _reasons("reason", member_meanings(ConfigurationReason))
    yield f"### ManagedClusterAddOn {addon_status.REGISTRATION_APPLIED}, {addon_status.MANIFEST_APPLIED}"
    yield _reasons("reason", member_meanings(addon_status.Reason))


def _certificate_requests() -> Iterator[str]:
    yield "## CertificateSigningRequest"
    yield paragraph(
        "Why a request is not granted, in an Event on the request and in the metric "
        "`federated_learning_hub_csr_decisions_total`. Denied is what lies in the request, waits what lies in the "
        "hub's state; what to do is in [certificates.md](../certificates.md)."
    )
    told = member_meanings(certificates.Reason)
    rows = [(code(reason.value), _outcome(reason), sentence(told[reason.value])) for reason in certificates.Reason]
    yield table(("reason", "outcome", "meaning"), rows)


def _outcome(reason: certificates.Reason) -> str:
    if reason is certificates.Reason.FOREIGN_SIGNER:
        return "left alone"
    return "denied" if reason.lasting else "waits"


def _aggregator() -> Iterator[str]:
    yield "## What an aggregator refuses"
    yield paragraph(
        "In its log (`call_refused`; where one cluster has many for one reason, some, with how many were `left_out`), "
        "in the metric `federated_learning_aggregator_refusals_total{cluster,reason}`, and to the collaborator, which "
        "does what the second column says. A refusal changes nothing in the run: the round goes on, and the site may "
        "yet send what counts."
    )
    yield "### What an aggregator refuses of a model or an update"
    yield _refusals(member_meanings(updates.Reason), {r.value: a.remedy for r, a in UPDATE_ANSWERS.items()})
    yield "### What an aggregator refuses of a call"
    yield _refusals(member_meanings(CallReason), {r.value: a.remedy for r, a in CALL_ANSWERS.items()})
    yield "### What a collaborator does then"
    rows = [(_spoken(remedy), sentence(meaning(Remedy, remedy.name))) for remedy in Remedy]
    yield table(("the collaborator", "meaning"), rows)


def _refusals(told: Meanings, remedies: Mapping[str, Remedy]) -> str:
    rows = [
        (code(reason), _spoken(remedies[reason]), sentence(_WHERE.sub("", words))) for reason, words in told.items()
    ]
    return table(("reason", "the collaborator", "meaning"), rows)


def by_condition(reasons: type[Enum]) -> dict[str, dict[str, str]]:
    """The reasons of each condition, by the conditions that their docstrings begin with.

    Raises:
        LookupError: A docstring doesn't say of which condition the reason is.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for reason, told in member_meanings(reasons).items():
        match = _OF_CONDITIONS.fullmatch(told)
        if match is None:
            raise LookupError(f"{reasons.__name__} {reason}: begin its docstring with its conditions and a colon")
        for condition in match[1].split(", "):
            found[condition][reason] = match[2]
    return found


def _spoken(remedy: Remedy) -> str:
    return {
        Remedy.STOP: "ends",
        Remedy.NEXT_ORDER: "waits for the next order",
        Remedy.RESEND: "sends again",
        Remedy.RETRY: "joins again",
    }[remedy]


def _of_constant(module: ModuleType, value: str) -> str:
    """What stands beneath the constant of a condition, without the word that it begins with."""
    name = next(name for name, held in vars(module).items() if name.isupper() and held == value)
    return sentence(meaning(module, name).removeprefix("Condition: ").removeprefix("Condition type: "))


def _reasons(what: str, meanings: Meanings) -> str:
    return table((what, "meaning"), [(code(reason), sentence(told)) for reason, told in meanings.items()])
