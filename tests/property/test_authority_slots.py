"""Whatever happens when, every unexpired certificate chains to the bundle."""

from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from federation.api.identity import collaborator_subject, dns_name
from federation.pki.certificate import Issuer, client_certificate, leaf_key
from federation.pki.chain import Purpose, verify_leaf
from hub_manager.certificates.signer.authority import (
    Authority,
    AuthorityFacts,
    AuthoritySchedule,
    Create,
    Prepare,
    Rest,
    next_step,
    take_step,
)
from hub_manager.certificates.signer.issuing import AuthorityRunsOut, CertificateLifetime, validity
from hub_manager.certificates.signer.slots import read_slots, write_slots
from tests.support.builders.authorities import authority
from tests.support.builders.csr import NOW, key_of, public_der

if TYPE_CHECKING:
    from cryptography import x509

LEAF = leaf_key(public_der(key_of("p256")))
HOUR = timedelta(hours=1)


def schedule(leaf_life: timedelta) -> AuthoritySchedule:
    return AuthoritySchedule(
        authority_life=timedelta(days=10),
        prepare_before=timedelta(days=5),
        leaf_life=leaf_life,
        rollout_min=HOUR,
        rollout_max=timedelta(days=2),
    )


class Slots(RuleBasedStateMachine):
    """The machine with a hub manager that may be away for long, and an administrator who changes his mind."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.serials = count(1 << 100)
        self.state: Authority | None = None
        self.provided_ca: Issuer | None = None
        self.known: list[Issuer] = []
        self.leaves: list[x509.Certificate] = []
        self.schedule = schedule(timedelta(hours=24))

    @initialize(own=st.booleans())
    def start(self, *, own: bool) -> None:
        if own:
            self.bring(timedelta(days=10))
        self.reconcile(rolled_out=False)

    @rule(rolled_out=st.booleans())
    def reconcile(self, *, rolled_out: bool) -> None:
        facts = AuthorityFacts(self.now, self.provided_ca, rolled_out=rolled_out)
        for _ in range(10):
            step = next_step(self.state, facts, self.schedule)
            if isinstance(step, Rest):
                assert step.until > self.now
                break
            made = None
            if isinstance(step, Create | Prepare):
                made = authority(next(self.serials), begin=self.now, life=self.schedule.authority_life)
            taken = take_step(self.state, step, facts, self.schedule, made)
            self.state = read_slots(write_slots(taken))
            assert self.state == taken
        else:
            raise AssertionError("the plan does not come to rest")

    @rule(hours=st.integers(1, 72))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(life=st.sampled_from([timedelta(hours=1), timedelta(hours=24), timedelta(hours=48)]))
    def restart_with_another_leaf_life(self, life: timedelta) -> None:
        self.schedule = schedule(life)
        self.reconcile(rolled_out=False)

    @rule(life=st.sampled_from([timedelta(days=1), timedelta(days=10), timedelta(days=30)]))
    def bring(self, life: timedelta) -> None:
        self.provided_ca = authority(next(self.serials), begin=self.now, life=life, key="p384")
        self.known.append(self.provided_ca)

    @precondition(lambda self: self.known)
    @rule(choice=st.randoms(use_true_random=False))
    def bring_an_earlier_one_back(self, choice: st.random_module) -> None:  # type: ignore[valid-type]
        again = choice.choice(self.known)  # type: ignore[attr-defined]
        if again.certificate.not_valid_after_utc > self.now:
            self.provided_ca = again

    @rule()
    def take_it_away(self) -> None:
        self.provided_ca = None

    @precondition(lambda self: self.state is not None)
    @rule()
    def sign(self) -> None:
        assert self.state is not None
        issuer = self.state.current
        life = CertificateLifetime(longest=self.schedule.leaf_life, shortest=HOUR)
        try:
            holding = validity(life, None, issuer.certificate, self.now)
        except AuthorityRunsOut:
            return
        self.leaves.append(
            client_certificate(
                issuer, LEAF, collaborator_subject("c1"), [dns_name()], serial=next(self.serials), validity=holding
            )
        )

    @invariant()
    def every_unexpired_leaf_chains_to_the_bundle(self) -> None:
        self.leaves = [leaf for leaf in self.leaves if leaf.not_valid_after_utc >= self.now]
        for leaf in self.leaves:
            assert self.state is not None
            assert verify_leaf(leaf, self.state.bundle, purpose=Purpose.CLIENT, now=self.now)


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_switch_waits_until_the_spokes_could_have_the_next_authority() -> None:
    state = Authority(authority(), timedelta(hours=24))
    table = AuthoritySchedule()
    due = NOW + timedelta(days=275)
    facts = AuthorityFacts(due)

    prepared = take_step(state, next_step(state, facts, table), facts, table, authority(1 << 101, begin=due))

    assert prepared.current == state.current
    assert len(prepared.bundle) == 2
    assert next_step(prepared, AuthorityFacts(due + timedelta(minutes=9), rolled_out=True), table) == Rest(
        due + timedelta(minutes=10)
    )
    assert next_step(prepared, AuthorityFacts(due + timedelta(days=6)), table) == Rest(due + timedelta(days=7))
    switched_at = AuthorityFacts(due + timedelta(days=7))
    switched = take_step(prepared, next_step(prepared, switched_at, table), switched_at, table, None)
    assert switched.current.certificate.serial_number == 1 << 101
    assert state.current.certificate in switched.bundle
    later = AuthorityFacts(switched_at.now + timedelta(hours=25))
    assert take_step(switched, next_step(switched, later, table), later, table, None).bundle == (
        switched.current.certificate,
    )


def test_a_certificate_is_never_signed_before_its_authority_was_announced() -> None:
    provided_ca = authority(1 << 102, key="p384")
    state = Authority(authority(), timedelta(hours=24))
    facts = AuthorityFacts(NOW, provided_ca)

    prepared = take_step(state, next_step(state, facts, AuthoritySchedule()), facts, AuthoritySchedule(), None)

    assert prepared.current == state.current
    assert prepared.next is not None
    assert prepared.next.issuer == provided_ca
