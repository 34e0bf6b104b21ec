"""Read a cluster's report on a run from the feedback of its ManifestWork."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from federation.api.collaborator import (
    CollaboratorState,
)
from federation.api.meta import condition_of
from federation.api.ocm.work import APPLIED, ManifestResult, ManifestWork
from federation.api.run_status import ClusterState
from federation.kube.kinds import COLLABORATOR

MESSAGE_CHARACTERS: Final = 1024
NOT_APPLIED: Final = "NotApplied"
"""The cluster's work agent can't apply the ManifestWork."""
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_UNPRINTABLE: Final = re.compile(r"[^\n\t -~\u00a0-\ud7ff\ue000-\ufffd]")


_STATES: Final[Mapping[str, ClusterState]] = {
    CollaboratorState.REFUSED: ClusterState.REFUSED,
    CollaboratorState.PENDING: ClusterState.PENDING,
    CollaboratorState.ACCEPTED: ClusterState.ACCEPTED,
    CollaboratorState.STARTING: ClusterState.ACCEPTED,
    CollaboratorState.RUNNING: ClusterState.RUNNING,
    CollaboratorState.RETRYING: ClusterState.RUNNING,
    CollaboratorState.SUCCEEDED: ClusterState.SUCCEEDED,
    CollaboratorState.FAILED: ClusterState.FAILED,
}

_WELL: Final = frozenset(
    {
        CollaboratorState.ACCEPTED,
        CollaboratorState.STARTING,
        CollaboratorState.RUNNING,
        CollaboratorState.SUCCEEDED,
    }
)


@dataclass(frozen=True, slots=True)
class RunCluster:
    """Facts about a cluster; the hub sets all of them except `available`, `install_namespace` and `claims`."""

    name: str
    accepted: bool
    """Whether the administrator accepts the cluster, and it has the add-on, which is not being deleted."""
    available: bool
    """Whether the add-on reports the condition Available."""
    install_namespace: str
    """Namespace of the agent. The cluster may change it, but it always refers to a namespace of that cluster."""
    claims: tuple[tuple[str, str], ...] = ()
    """Names and values of the cluster's claims."""


@dataclass(frozen=True, slots=True)
class SiteReport:
    """State of the run that a cluster reports."""

    state: ClusterState
    reason: str = ""
    message: str = ""


def report_of(work: ManifestWork | None, run_id: str) -> SiteReport:
    """Return the report for this run id from the work's feedback; Pending until the cluster reports."""
    if work is None:
        return SiteReport(ClusterState.PENDING)
    applied = condition_of(work.status.conditions, APPLIED)
    if applied is not None and applied.status == "False":
        return SiteReport(ClusterState.PENDING, NOT_APPLIED, _bounded(applied.message))
    result = next(
        (r for r in work.status.resource_status.manifests if r.resource_meta.kind == COLLABORATOR.kind),
        ManifestResult(),
    )
    if _text(result, "runId") != run_id:
        return SiteReport(ClusterState.PENDING)
    state_text, reason = _text(result, "state"), _text(result, "reason")
    state = _STATES.get(state_text, ClusterState.PENDING)
    message = "" if state_text in _WELL else _text(result, "message") or _text(result, "log")
    return SiteReport(state, reason if _REASON.fullmatch(reason) else "", _bounded(message))


def _text(result: ManifestResult, name: str) -> str:
    value = result.value(name)
    return "" if value is None or value.string is None else value.string


def _bounded(text: str) -> str:
    """Truncate a spoke's text, and replace unprintable characters, for use in a status."""
    return _UNPRINTABLE.sub("\ufffd", text[: MESSAGE_CHARACTERS + 1])[:MESSAGE_CHARACTERS]
