"""The authority's slots, and how one authority follows another without a certificate in use ever losing its anchor.

    nothing ──Create, Adopt──▶ current ──Prepare──▶ current + next ──Switch──▶ current + retired ──Drop──▶ current

`current` alone signs. `next` is in the bundle long before it signs, so that whoever verifies knows it; `retired` stays
in the bundle until the last certificate that it signed has expired. An administrator's own authority goes through the
same slots: a new one in his Secret becomes `next`. `plan` chooses one step, `take` takes it; both are pure, and the
state is written after each step, so a crash in between repeats a step or none.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias, assert_never

from cryptography import x509

from federation.pki.certificate import Issuer
from federation.pki.chain import fingerprint, holds

GRACE: Final = timedelta(minutes=10)
"""How much longer than its last leaf a retired authority stays: a leader that lost its lease may sign a moment more."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The authority to come, and since when it has been in the bundle."""

    issuer: Issuer
    since: datetime


@dataclass(frozen=True, slots=True)
class Retired:
    """An authority that signs no more, and until when something that it signed may hold."""

    certificate: x509.Certificate
    until: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """All slots; `leaf_life` is the longest life that `current` has ever been allowed to give."""

    current: Issuer
    leaf_life: timedelta
    next: Prepared | None = None
    retired: tuple[Retired, ...] = ()

    @property
    def bundle(self) -> tuple[x509.Certificate, ...]:
        """The certificates that every verifier has to trust."""
        coming = (self.next.issuer.certificate,) if self.next is not None else ()
        return (self.current.certificate, *coming, *(retired.certificate for retired in self.retired))


@dataclass(frozen=True, slots=True)
class AuthoritySchedule:
    """How long everything takes."""

    authority_life: timedelta = timedelta(days=365)
    prepare_before: timedelta = timedelta(days=90)
    """Before the end of `current`, when `next` is made."""
    leaf_life: timedelta = timedelta(hours=24)
    """The longest life of any certificate that the authority signs."""
    rollout_min: timedelta = timedelta(minutes=10)
    """How long `next` is in the bundle at least, also when every spoke has it: processes have to read it."""
    rollout_max: timedelta = timedelta(days=7)
    """After which spokes that are not heard of are waited for no longer."""

    def __post_init__(self) -> None:
        if not self.rollout_min <= self.rollout_max <= self.prepare_before - self.leaf_life:
            raise ValueError("the next authority has to spread and to take over while the current one can still sign")
        if self.prepare_before >= self.authority_life:
            raise ValueError("an authority has to live longer than it takes to prepare the next one")


@dataclass(frozen=True, slots=True)
class AuthorityFacts:
    """What the world says at one moment."""

    now: datetime
    provided_ca: Issuer | None = None
    """The authority in the administrator's Secret."""
    provided_ca_unusable: bool = False
    """Whether there is such a Secret, but one that can't be used."""
    rolled_out: bool = False
    """Whether every spoke is known to have the present bundle."""


@dataclass(frozen=True, slots=True)
class Create:
    """No authority yet: one has to be made."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """No authority yet: the administrator's is taken."""

    issuer: Issuer


@dataclass(frozen=True, slots=True)
class Prepare:
    """The current authority comes to its end: the next one has to be made."""


@dataclass(frozen=True, slots=True)
class PrepareProvided:
    """The administrator brought another authority: it is the next one, instead of whichever was."""

    issuer: Issuer


@dataclass(frozen=True, slots=True)
class Abandon:
    """The administrator went back to the current authority: the next one, which signed nothing, is forgotten."""


@dataclass(frozen=True, slots=True)
class Switch:
    """The next authority signs from now on."""


@dataclass(frozen=True, slots=True)
class Allow:
    """Leaves live longer than they did: that has to be on record before the first such leaf is signed."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing that these retired authorities signed holds any more."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do until then."""

    until: datetime


Step: TypeAlias = Create | Adopt | Prepare | PrepareProvided | Abandon | Switch | Allow | Drop | Rest


def next_step(state: Authority | None, facts: AuthorityFacts, schedule: AuthoritySchedule) -> Step:
    """The next step, `Rest` when there is none now."""
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
    # An authority that the administrator brought is his to renew, as long as his Secret is there.
    his = facts.provided_ca is not None or facts.provided_ca_unusable
    return Prepare() if not his else _rest(state, facts.now + timedelta(hours=1))


def _switch_due(state: Authority, coming: Prepared, facts: AuthorityFacts, schedule: AuthoritySchedule) -> datetime:
    rolled_out = coming.since + (schedule.rollout_min if facts.rolled_out else schedule.rollout_max)
    # From then on the current authority could give no full life: a late switch serves nobody.
    runs_out = state.current.certificate.not_valid_after_utc - schedule.leaf_life
    return max(min(rolled_out, runs_out), coming.issuer.certificate.not_valid_before_utc)


def _rest(state: Authority, due: datetime) -> Rest:
    return Rest(min([due, *(retired.until for retired in state.retired)]))


def take_step(
    state: Authority | None, step: Step, facts: AuthorityFacts, schedule: AuthoritySchedule, made: Issuer | None
) -> Authority:
    """The state after the step.

    Args:
        state: The state that `plan` was given.
        step: What `plan` returned.
        facts: The same facts.
        schedule: The same schedule.
        made: A new authority, for `Create` and `Prepare`.

    Raises:
        ValueError: The step does not fit the state, or needs a new authority and got none.
    """
    match step, state, made:
        case Create(), None, Issuer():
            return Authority(made, schedule.leaf_life)
        case Adopt(issuer=issuer), None, _:
            return Authority(issuer, schedule.leaf_life)
        case (Create() | Adopt(), _, _) | (_, None, _):
            raise ValueError(f"{type(step).__name__} does not fit the state")
        case _:
            return _take_later_step(state, step, facts, schedule, made)


def _take_later_step(
    state: Authority, step: Step, facts: AuthorityFacts, schedule: AuthoritySchedule, made: Issuer | None
) -> Authority:
    after = state
    match step:
        case Prepare() | PrepareProvided():
            coming = step.issuer if isinstance(step, PrepareProvided) else made
            if coming is None:
                raise ValueError("a new authority has to be made first")
            after = replace(state, next=Prepared(coming, facts.now))
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
        raise ValueError("there is no next authority")
    old = state.current.certificate
    # No leaf outlives its authority, nor the longest life that was allowed.
    until = min(facts.now + state.leaf_life + GRACE, old.not_valid_after_utc)
    coming = state.next.issuer
    kept = tuple(r for r in state.retired if fingerprint(r.certificate) != fingerprint(coming.certificate))
    # An authority that comes back may still have older leaves about: they hold no longer than its own last term's.
    lifetime = max([schedule.leaf_life, *(r.until - facts.now for r in state.retired if r not in kept)])
    return Authority(coming, lifetime, retired=(*kept, Retired(old, until)))


def _same(one: Issuer, other: Issuer) -> bool:
    return fingerprint(one.certificate) == fingerprint(other.certificate)


def may_sign(state: Authority, now: datetime) -> bool:
    """Whether the current authority's certificate holds, so that what it signs can be verified."""
    return holds(state.current.certificate, now)
