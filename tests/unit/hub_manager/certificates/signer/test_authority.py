"""How long a retired authority stays, in the cases that a random walk seldom meets."""

from datetime import datetime, timedelta

from federation.pki.certificate import Issuer
from hub_manager.certificates.signer.authority import (
    Authority,
    AuthorityFacts,
    AuthoritySchedule,
    Prepare,
    Rest,
    next_step,
    take_step,
)
from tests.support.builders.authorities import authority
from tests.support.builders.csr import NOW

HOUR = timedelta(hours=1)
LONG = timedelta(hours=48)
OWN = authority(1 << 100)
BROUGHT = authority(1 << 101, key="p384")
SHORT_LEAVES = AuthoritySchedule(leaf_life=HOUR, rollout_min=HOUR)


def settled(state: Authority, provided_ca: Issuer, now: datetime) -> Authority:
    facts = AuthorityFacts(now, provided_ca, rolled_out=True)
    while not isinstance(step := next_step(state, facts, SHORT_LEAVES), Rest):
        state = take_step(state, step, facts, SHORT_LEAVES, None)
    return state


def test_a_retired_authority_stays_for_the_longest_life_that_it_was_ever_allowed_to_give() -> None:
    prepared = settled(Authority(OWN, LONG), BROUGHT, NOW)

    switched = settled(prepared, BROUGHT, NOW + HOUR)

    assert switched.current == BROUGHT
    assert OWN.certificate in settled(switched, BROUGHT, NOW + HOUR + LONG).bundle
    assert OWN.certificate not in settled(switched, BROUGHT, NOW + 2 * HOUR + LONG).bundle


def test_an_authority_that_comes_back_and_goes_again_stays_for_its_first_terms_certificates() -> None:
    state = settled(Authority(OWN, LONG), BROUGHT, NOW)
    signed_until = NOW + HOUR + LONG

    for hours, provided_ca in ((1, BROUGHT), (2, OWN), (3, OWN), (4, BROUGHT), (5, BROUGHT)):
        state = settled(state, provided_ca, NOW + hours * HOUR)

    assert state.current == BROUGHT
    assert OWN.certificate in settled(state, BROUGHT, signed_until).bundle
    assert OWN.certificate not in settled(state, BROUGHT, signed_until + 3 * HOUR).bundle


def test_never_replaces_an_invalid_authority_of_the_administrator() -> None:
    schedule = AuthoritySchedule()
    state = Authority(authority(), schedule.leaf_life)
    due = state.current.certificate.not_valid_after_utc - schedule.prepare_before

    assert next_step(state, AuthorityFacts(due), schedule) == Prepare()
    assert isinstance(next_step(state, AuthorityFacts(due, provided_ca_unusable=True), schedule), Rest)
