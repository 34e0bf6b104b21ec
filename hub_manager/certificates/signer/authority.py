"""The authority's slots, and the rotation in which no certificate in use ever loses its trust anchor.

    nothing ──Create, Adopt──▶ current ──Prepare──▶ current + next ──Switch──▶ current + retired ──Drop──▶ current

`current` alone signs. `next` is in the bundle long before it signs, so that every verifier trusts it by then. `retired`
stays in the bundle until the last certificate that it signed has expired. An authority that the administrator provides
uses the same slots: a new one in the Secret becomes `next`. `next_step` chooses one step and `take_step` takes it. Both
are pure, and the state is written after each step, so that a crash repeats at most one step.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias, assert_never

from cryptography import x509

from federation.pki.certificate import Issuer
from federation.pki.chain import fingerprint, holds

GRACE: Final = timedelta(minutes=10)
"""Time that a retired authority outlives its last leaf: a leader that lost its Lease may still be signing."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The next authority, and the time since which it has been in the bundle."""

    issuer: Issuer
    since: datetime


@dataclass(frozen=True, slots=True)
class Retired:
    """An authority that no longer signs, and the time at which its last certificate expires."""

    certificate: x509.Certificate
    until: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """All slots; `leaf_life` is the longest lifetime that `current` has ever been allowed to grant."""

    current: Issuer
    leaf_life: timedelta
    next: Prepared | None = None
    retired: tuple[Retired, ...] = ()

    @property
    def bundle(self) -> tuple[x509.Certificate, ...]:
        """The certificates that every verifier must trust."""
        upcoming = (self.next.issuer.certificate,) if self.next is not None else ()
        return (self.current.certificate, *upcoming, *(retired.certificate for retired in self.retired))


@dataclass(frozen=True, slots=True)
class AuthoritySchedule:
    """The times of the rotation."""

    authority_life: timedelta = timedelta(days=365)
    prepare_before: timedelta = timedelta(days=90)
    """Time before the expiry of `current` at which `next` is created."""
    leaf_life: timedelta = timedelta(hours=24)
    """The longest lifetime of a certificate that the authority signs."""
    rollout_min: timedelta = timedelta(minutes=10)
    """Minimum time of `next` in the bundle, even if every spoke has it: processes must still read it."""
    rollout_max: timedelta = timedelta(days=7)
    """Maximum time to wait for spokes that have not reported the bundle."""

    def __post_init__(self) -> None:
        if not self.rollout_min <= self.rollout_max <= self.prepare_before - self.leaf_life:
            raise ValueError("rollout_min <= rollout_max <= prepare_before - leaf_life is required")
        if self.prepare_before >= self.authority_life:
            raise ValueError("authority_life must exceed prepare_before")


@dataclass(frozen=True, slots=True)
class AuthorityFacts:
    """The inputs of a rotation step."""

    now: datetime
    provided_ca: Issuer | None = None
    """The authority in the administrator's Secret; None if missing or invalid."""
    provided_ca_unusable: bool = False
    """Whether the administrator's Secret is required but missing or invalid."""
    rolled_out: bool = False
    """Whether every spoke has reported the current bundle."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create the first authority."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Use the administrator's authority as the first one."""

    issuer: Issuer


@dataclass(frozen=True, slots=True)
class Prepare:
    """Create the next authority, because the current one expires soon."""


@dataclass(frozen=True, slots=True)
class PrepareProvided:
    """Use another authority that the administrator provided as the next one, in place of any other."""

    issuer: Issuer


@dataclass(frozen=True, slots=True)
class Abandon:
    """Drop the next authority, which has signed nothing: the administrator returned to the current one."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Let the next authority sign from now on."""


@dataclass(frozen=True, slots=True)
class Allow:
    """Record a longer leaf lifetime, before the first such leaf is signed."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop the retired authorities whose certificates have all expired."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Do nothing until then."""

    until: datetime


Step: TypeAlias = Create | Adopt | Prepare | PrepareProvided | Abandon | Switch | Allow | Drop | Rest


def next_step(state: Authority | None, facts: AuthorityFacts, schedule: AuthoritySchedule) -> Step:
    """Return the step that is due now, or `Rest`."""
    if state is None:
        return Create() if facts.provided_ca is None else Adopt(facts.provided_ca)
    if schedule.leaf_life > state.leaf_life:
        return Allow()
    if any(retired.until <= facts.now for retired in state.retired):
        return Drop()
    return _roll_over(state, facts, schedule)


def _roll_over(state: Authority, facts: AuthorityFacts, schedule: AuthoritySchedule) -> Step:
    if facts.provided_ca is not None and not _same(facts.provided_ca, state.current):
        if state.next is None or not _same(facts.provided_ca, state.next.issuer):
            return PrepareProvided(facts.provided_ca)
    elif facts.provided_ca is not None and state.next is not None:
        return Abandon()
    if state.next is not None:
        due = _switch_due(state, state.next, facts, schedule)
        return Switch() if due <= facts.now else _rest(state, due)
    due = state.current.certificate.not_valid_after_utc - schedule.prepare_before
    if due > facts.now:
        return _rest(state, due)
    # The administrator renews a provided authority for as long as the Secret exists.
    administered = facts.provided_ca is not None or facts.provided_ca_unusable
    return Prepare() if not administered else _rest(state, facts.now + timedelta(hours=1))


def _switch_due(state: Authority, upcoming: Prepared, facts: AuthorityFacts, schedule: AuthoritySchedule) -> datetime:
    rolled_out = upcoming.since + (schedule.rollout_min if facts.rolled_out else schedule.rollout_max)
    # After that, the current authority could not grant the full lifetime: switch even if the rollout is incomplete.
    runs_out = state.current.certificate.not_valid_after_utc - schedule.leaf_life
    return max(min(rolled_out, runs_out), upcoming.issuer.certificate.not_valid_before_utc)


def _rest(state: Authority, due: datetime) -> Rest:
    return Rest(min([due, *(retired.until for retired in state.retired)]))


def take_step(
    state: Authority | None, step: Step, facts: AuthorityFacts, schedule: AuthoritySchedule, created: Issuer | None
) -> Authority:
    """Return the state after the step.

    Args:
        state: The state that `next_step` received.
        step: The result of `next_step`.
        facts: The same facts.
        schedule: The same schedule.
        created: A new authority, for `Create` and `Prepare`.

    Raises:
        ValueError: The step does not fit the state, or the new authority is missing.
    """
    match step, state, created:
        case Create(), None, Issuer():
            return Authority(created, schedule.leaf_life)
        case Adopt(issuer=issuer), None, _:
            return Authority(issuer, schedule.leaf_life)
        case (Create() | Adopt(), _, _) | (_, None, _):
            raise ValueError(f"{type(step).__name__} does not fit the state")
        case _:
            return _take_later_step(state, step, facts, schedule, created)


def _take_later_step(
    state: Authority, step: Step, facts: AuthorityFacts, schedule: AuthoritySchedule, created: Issuer | None
) -> Authority:
    after = state
    match step:
        case Prepare() | PrepareProvided():
            upcoming = step.issuer if isinstance(step, PrepareProvided) else created
            if upcoming is None:
                raise ValueError("the new authority is missing")
            after = replace(state, next=Prepared(upcoming, facts.now))
        case Abandon():
            after = replace(state, next=None)
        case Switch():
            after = _switched(state, facts, schedule)
        case Allow():
            after = replace(state, leaf_life=schedule.leaf_life)
        case Drop():
            after = replace(state, retired=tuple(retired for retired in state.retired if retired.until > facts.now))
        case Rest() | Create() | Adopt():
            pass
        case _:
            assert_never(step)
    return after


def _switched(state: Authority, facts: AuthorityFacts, schedule: AuthoritySchedule) -> Authority:
    if state.next is None:
        raise ValueError("the next authority is missing")
    old = state.current.certificate
    # No leaf outlives its authority or the longest lifetime that was allowed.
    until = min(facts.now + state.leaf_life + GRACE, old.not_valid_after_utc)
    upcoming = state.next.issuer
    kept = tuple(r for r in state.retired if fingerprint(r.certificate) != fingerprint(upcoming.certificate))
    # An authority that signs again may still have older leaves; they expire within its earlier leaf lifetime.
    lifetime = max([schedule.leaf_life, *(r.until - facts.now for r in state.retired if r not in kept)])
    return Authority(upcoming, lifetime, retired=(*kept, Retired(old, until)))


def _same(one: Issuer, other: Issuer) -> bool:
    return fingerprint(one.certificate) == fingerprint(other.certificate)


def may_sign(state: Authority, now: datetime) -> bool:
    """Whether the current authority's certificate is valid, so that its signatures can be verified."""
    return holds(state.current.certificate, now)
