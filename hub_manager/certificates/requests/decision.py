"""Decide the next step for one request: a pure function of the request, the hub's state and the time.

The states of a request for our signers:

    pending ──▶ Approve ──▶ Issue ──▶ kept for a while ──▶ Remove
       │           │
       │           └ by another approver, against the policy ─▶ Fail ──▶ Remove
       ├─ lasting refusal ─▶ Deny ──▶ Remove
       └─ passing refusal ─▶ Wait ──(longer than its retention)──▶ Remove

A refused request is also removed: a klusterlet whose request is denied makes another only when the object is gone (ocm
`pkg/registration/register/csr/csr.go`, `Process`), and stops when ten exist. Keep requests denied by an administrator;
delete only our own denials.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from federation.api.identity import COLLABORATOR_SIGNER
from federation.api.kubernetes.certificates import CertificateSigningRequest
from hub_manager.certificates.requests.policy import POLICIES, Input, concerns_us, refusal_of
from hub_manager.certificates.requests.refusal import CertificateReason, CertificateRefusal
from hub_manager.certificates.requests.requester import requesting_cluster

_OURS: Final = frozenset(reason.value for reason in CertificateReason)


@dataclass(frozen=True, slots=True)
class Retention:
    """Times for which requests are kept."""

    rejected: timedelta = timedelta(minutes=1)
    """After we rejected it: long enough to be read, and short enough for a klusterlet that was fixed."""
    issued: timedelta = timedelta(minutes=1)
    """After approval, once the certificate is issued; a klusterlet that missed it requests another.

    Short, because a klusterlet stops at ten open requests, and each time the add-on is enabled it makes three.
    """
    pending: timedelta = timedelta(hours=1)
    """After its creation, while it waits; a restarted klusterlet has lost the key of its older requests."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Do nothing until the object changes or the time has come."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Report the refusal and check again later: the hub's state may change."""

    refusal: CertificateRefusal
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Approve:
    """Approve the request: all checks pass."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Deny the request: it can never be granted."""

    refusal: CertificateRefusal


@dataclass(frozen=True, slots=True)
class Issue:
    """Sign the approved request: all checks still pass."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Fail a request that another approver approved against the policy."""

    refusal: CertificateRefusal


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the object, whose retention has ended."""


Decision: TypeAlias = Leave | Wait | Approve | Deny | Issue | Fail | Remove


def decide(known: Input, retention: Retention, now: datetime) -> Decision:
    """Decide the next step for the request."""
    csr = known.csr
    if not concerns_us(csr) or csr.metadata.deleting:
        return Leave()
    served = csr.spec.signer_name in POLICIES
    if csr.rejected is not None:
        return _keep(csr, retention.rejected, now) if served and csr.rejected.reason in _OURS else Leave()
    if csr.status.certificate:
        return _keep(csr, retention.issued, now) if served else Leave()
    return _evaluate(known, retention, now)


def _evaluate(known: Input, retention: Retention, now: datetime) -> Decision:
    csr = known.csr
    if csr.approved and csr.spec.signer_name != COLLABORATOR_SIGNER:
        return Leave()
    refusal = refusal_of(known)
    if refusal is None:
        return Issue() if csr.approved else Approve()
    if csr.spec.signer_name not in POLICIES:
        return _of_another_signer(known, refusal, retention, now)
    if refusal.reason.lasting:
        return Fail(refusal) if csr.approved else Deny(refusal)
    until = csr.created + retention.pending
    return Remove() if until <= now else Wait(refusal, until)


def _of_another_signer(known: Input, refusal: CertificateRefusal, retention: Retention, now: datetime) -> Wait | Remove:
    """Report a request with our add-on's label for another signer, and leave it to that signer.

    Remove it if its requester is not the labeled cluster's klusterlet: klusterlets count requests by label and stop at
    ten, so it could only block that klusterlet.
    """
    if requesting_cluster(known.csr, known.rules.drivers) == known.claimed:
        return Wait(refusal, None)
    until = known.csr.created + retention.rejected
    return Remove() if until <= now else Wait(refusal, until)


def decided_at(csr: CertificateSigningRequest) -> datetime:
    """Return the time of the newest condition, or of the object's creation if no condition has one."""
    times = [c.last_transition_time for c in csr.status.conditions if c.last_transition_time]
    return max((datetime.fromisoformat(time) for time in times), default=csr.created)


def _keep(csr: CertificateSigningRequest, span: timedelta, now: datetime) -> Leave | Remove:
    until = decided_at(csr) + span
    return Remove() if until <= now else Leave(until)
