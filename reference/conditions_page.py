"""`docs/reference/conditions.md`: every condition, state and reason."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import Final

from federation.api import collaborator, dataset, run_status
from federation.rpc.refusal import CALL_RESPONSES, CallReason, Remedy
from hub_manager.addon.planning import status as addon_status
from hub_manager.addon.planning.configuration import ConfigurationReason
from hub_manager.aggregator.config import ConfigError
from hub_manager.aggregator.exchange.status_codes import ANSWERS as UPDATE_ANSWERS
from hub_manager.aggregator.rounds.records import RunFailureReason
from hub_manager.aggregator.storage.initial_model import ModelUnusable
from hub_manager.aggregator.validation import refusal as updates
from hub_manager.certificates.requests import refusal as certificates
from hub_manager.federated_learning import site
from hub_manager.federated_learning.planning import cohort, conditions
from hub_manager.federated_learning.planning.validate import FaultReason
from reference.docstrings import meaning, member_meanings, summary
from reference.markdown import code, page, paragraph, sentence, table
from runtimes.kit import failure
from spoke_agent.claims.planning import validation
from spoke_agent.collaborator.planning import admission, status

Meanings = Mapping[str, str]
_OF_CONDITIONS: Final = re.compile(r"([A-Z][A-Za-z]+(?:, [A-Z][A-Za-z]+)*): (.*)")
"""Start of the docstring of a run's reason: the conditions that can have it."""
_WHERE: Final = re.compile(r" \(`[\w.]+`\)\.?$")
"""End of the docstring of a call's reason: the place in the code that returns it."""
_SITE_REASONS: Final = (
    (cohort, "NOT_ACCEPTED"),
    (cohort, "NOT_CHOSEN"),
    (cohort, "DATA_UNNAMED"),
    (site, "NOT_APPLIED"),
)
_OF_EXPORT: Final = (
    failure.RuntimeFailureReason.SETTINGS_REFUSED,
    failure.RuntimeFailureReason.PLAN_REFUSED,
    failure.RuntimeFailureReason.WORKSPACE_FAILED,
)
"""Reasons of a failed export of the workspace, which runs on the hub before the aggregator."""


def conditions_page() -> str:
    """Return the page."""
    opening = paragraph(
        "Conditions, states and their reasons, by resource. A condition's message has the details and, where there is "
        "one, the remedy. For the fields see [api.md](api.md)."
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
    yield paragraph("`status.phase`, derived from the conditions; no controller reads it:")
    yield _reasons("phase", member_meanings(run_status.Phase))
    own = by_condition(conditions.RunReason)
    own[run_status.SCHEDULED] |= member_meanings(FaultReason)
    own[run_status.FAILED] |= _ends()
    for name in run_status.CONDITIONS:
        yield f"### FederatedLearning {name}"
        yield paragraph(_of_constant(run_status, name))
        yield _reasons("reason", own[name])
    yield "### FederatedLearning clusters"
    yield paragraph("`status.clusters[].state`, set by the hub manager:")
    yield _reasons("state", member_meanings(run_status.ClusterState))
    yield paragraph(
        "`status.clusters[].reason` is the reason of the cluster's [Collaborator](#collaborator), or one of the hub "
        "manager's:"
    )
    yield _reasons("reason", {getattr(module, name): meaning(module, name) for module, name in _SITE_REASONS})


def _ends() -> Meanings:
    """Return the reasons for which an aggregator ends a run, and those of a failed export of the workspace."""
    unusable = {error.__name__: summary(error) for error in (ConfigError, ModelUnusable)}
    exporting = member_meanings(failure.RuntimeFailureReason)
    return (
        member_meanings(RunFailureReason)
        | unusable
        | {
            reason.value: f"{exporting[reason.value]} Reported by the export on the hub, before the first round."
            for reason in _OF_EXPORT
        }
    )


def _collaborator() -> Iterator[str]:
    yield "## Collaborator"
    yield paragraph("`status.state`:")
    yield _reasons("state", member_meanings(collaborator.CollaboratorState))
    for name, reasons in (
        (collaborator.ACCEPTED, member_meanings(admission.AdmissionReason)),
        (f"{collaborator.RUNNING}, {collaborator.FINISHED}", member_meanings(status.CollaboratorReason)),
    ):
        yield f"### Collaborator {name}"
        yield paragraph(" ".join(_of_constant(collaborator, each) for each in name.split(", ")))
        yield _reasons("reason", reasons)
    yield "### Collaborator exit"
    yield paragraph(
        "`status.exit.reason`, and the reason of `Finished` once the Job has failed. The table lists the reasons of "
        "OpenFL's runtime, with the exit status of the process. Other runtimes, the kubelet (`OOMKilled`) and the Job "
        "(`DeadlineExceeded`) also report reasons."
    )
    rows = [
        (code(reason.value), str(int(failure.EXIT_CODES[reason])), sentence(text))
        for reason, text in zip(
            failure.RuntimeFailureReason, member_meanings(failure.RuntimeFailureReason).values(), strict=True
        )
    ]
    yield table(("reason", "exit status", "meaning"), rows)


def _dataset() -> Iterator[str]:
    yield "## Dataset"
    yield f"### Dataset {dataset.PUBLISHED}"
    yield paragraph(_of_constant(dataset, dataset.PUBLISHED))
    yield _reasons("reason", member_meanings(validation.DatasetReason))


def _addon() -> Iterator[str]:
    yield "## ManagedClusterAddOn"
    yield paragraph("For OCM's own conditions and their remedies see [enable.md](../enable.md).")
    yield f"### ManagedClusterAddOn {addon_status.CONFIGURATION_ACCEPTED}"
    yield _reasons("reason", member_meanings(ConfigurationReason))
    yield f"### ManagedClusterAddOn {addon_status.REGISTRATION_APPLIED}, {addon_status.MANIFEST_APPLIED}"
    yield _reasons("reason", member_meanings(addon_status.AddOnReason))


def _certificate_requests() -> Iterator[str]:
    yield "## CertificateSigningRequest"
    yield paragraph(
        "Reasons for which a request is not granted, recorded in an Event on the request and in the metric "
        "`federated_learning_hub_csr_decisions_total`. A request is denied for a fault in the request, and waits for a "
        "change of the hub's state; for remedies see [certificates.md](../certificates.md)."
    )
    meanings = member_meanings(certificates.CertificateReason)
    rows = [
        (code(reason.value), _outcome(reason), sentence(meanings[reason.value]))
        for reason in certificates.CertificateReason
    ]
    yield table(("reason", "outcome", "meaning"), rows)


def _outcome(reason: certificates.CertificateReason) -> str:
    if reason is certificates.CertificateReason.FOREIGN_SIGNER:
        return "ignored"
    return "denied" if reason.lasting else "waits"


def _aggregator() -> Iterator[str]:
    yield "## Aggregator"
    yield paragraph(
        "Rejections are recorded in the aggregator's log (`call_refused`, sampled where one cluster has many for one "
        "reason; `left_out` counts the rest) and in the metric "
        "`federated_learning_aggregator_refusals_total{cluster,reason}`, and returned to the collaborator, which acts "
        "as in the second column. A rejection does not change the run: the round continues, and the cluster can still "
        "send a valid update."
    )
    yield "### Rejected models and updates"
    yield _refusals(
        member_meanings(updates.UpdateRefusalReason), {r.value: a.remedy for r, a in UPDATE_ANSWERS.items()}
    )
    yield "### Rejected calls"
    yield _refusals(member_meanings(CallReason), {r.value: a.remedy for r, a in CALL_RESPONSES.items()})
    yield "### Actions of the collaborator"
    rows = [(_action(remedy), sentence(meaning(Remedy, remedy.name))) for remedy in Remedy]
    yield table(("the collaborator", "meaning"), rows)


def _refusals(meanings: Meanings, remedies: Mapping[str, Remedy]) -> str:
    rows = [
        (code(reason), _action(remedies[reason]), sentence(_WHERE.sub("", words))) for reason, words in meanings.items()
    ]
    return table(("reason", "the collaborator", "meaning"), rows)


def by_condition(reasons: type[Enum]) -> dict[str, dict[str, str]]:
    """Group reasons by the conditions that their docstrings start with.

    Raises:
        LookupError: A docstring does not start with a condition.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for reason, text in member_meanings(reasons).items():
        match = _OF_CONDITIONS.fullmatch(text)
        if match is None:
            raise LookupError(f"{reasons.__name__} {reason}: start its docstring with its conditions and a colon")
        for condition in match[1].split(", "):
            found[condition][reason] = match[2]
    return found


def _action(remedy: Remedy) -> str:
    return {
        Remedy.STOP: "exits",
        Remedy.NEXT_ORDER: "waits for the next order",
        Remedy.RESEND: "sends again",
        Remedy.RETRY: "joins again",
    }[remedy]


def _of_constant(module: ModuleType, value: str) -> str:
    """Return the docstring of a condition's constant, without the word that it starts with."""
    name = next(name for name, held in vars(module).items() if name.isupper() and held == value)
    return sentence(meaning(module, name).removeprefix("Condition: ").removeprefix("Condition type: "))


def _reasons(what: str, meanings: Meanings) -> str:
    return table((what, "meaning"), [(code(reason), sentence(text)) for reason, text in meanings.items()])
