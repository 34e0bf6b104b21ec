"""What is to be done with one request now: a pure function of the request, the facts and the time.

The life of a request that concerns us:

    pending ──▶ Approve ──▶ Issue ──▶ kept for a while ──▶ Remove
       │           │
       │           └ by somebody else, against the policy ─▶ Fail ──▶ Remove
       ├─ lasting refusal ─▶ Deny ──▶ Remove
       └─ passing refusal ─▶ Wait ──(longer than patience)──▶ Remove

Removing is part of the refusal: a klusterlet whose request is denied makes no other until the object is gone (ocm
`pkg/registration/register/csr/csr.go`, `Process`), and stops for good when ten lie about. A request that an
administrator denied stays, for the denial is his word.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from federation.api.identity import COLLABORATOR_SIGNER
from federation.api.kubernetes.certificates import CertificateSigningRequest
from hub_manager.certificates.policy import POLICIES, Input, concerns_us, refusal_of
from hub_manager.certificates.refusal import CertificateReason, CertificateRefusal
from hub_manager.certificates.requester import requesting_cluster

_OURS: Final = frozenset(reason.value for reason in CertificateReason)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long requests are kept."""

    rejected: timedelta = timedelta(minutes=1)
    """After we rejected it: long enough for a reader, short enough for a klusterlet that was mended."""
    issued: timedelta = timedelta(minutes=1)
    """After approval, once the certificate is there; a klusterlet that missed it asks again.

    Short, because a klusterlet stops for good at ten standing requests, of which every enabling makes three.
    """
    pending: timedelta = timedelta(hours=1)
    """Since its making, while it waits; the key of one that an earlier klusterlet process made is lost anyway."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to do, until the object changes or the time comes."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: the refusal is told, and may pass."""

    refusal: CertificateRefusal
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Approve:
    """Every check holds."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The request itself is refused, for good."""

    refusal: CertificateRefusal


@dataclass(frozen=True, slots=True)
class Issue:
    """Approved, and every check holds still."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Approved by somebody, but the policy refuses to sign it, for good."""

    refusal: CertificateRefusal


@dataclass(frozen=True, slots=True)
class Remove:
    """The object has served its time."""


Decision: TypeAlias = Leave | Wait | Approve | Deny | Issue | Fail | Remove


def decide(known: Input, retention: Retention, now: datetime) -> Decision:
    """The one thing to do with the request now."""
    csr = known.csr
    if not concerns_us(csr) or csr.metadata.deleting:
        return Leave()
    served = csr.spec.signer_name in POLICIES
    if csr.rejected is not None:
        return _keep(csr, retention.rejected, now) if served and csr.rejected.reason in _OURS else Leave()
    if csr.status.certificate:
        return _keep(csr, retention.issued, now) if served else Leave()
    return _judge(known, retention, now)


def _judge(known: Input, retention: Retention, now: datetime) -> Decision:
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
    """Labelled as our add-on's, for a signer that the add-on does not ask: told, and left to whoever serves it.

    Unless somebody else than the labelled cluster's klusterlet made it: all it can do there is to fill the measure of
    ten at which that klusterlet stops, for klusterlets count by label.
    """
    if requesting_cluster(known.csr, known.rules.drivers) == known.claimed:
        return Wait(refusal, None)
    until = known.csr.created + retention.rejected
    return Remove() if until <= now else Wait(refusal, until)


def decided_at(csr: CertificateSigningRequest) -> datetime:
    """When the newest condition was set, or when the object was made where no condition says so."""
    times = [c.last_transition_time for c in csr.status.conditions if c.last_transition_time]
    return max((datetime.fromisoformat(time) for time in times), default=csr.created)


def _keep(csr: CertificateSigningRequest, span: timedelta, now: datetime) -> Leave | Remove:
    until = decided_at(csr) + span
    return Remove() if until <= now else Leave(until)
