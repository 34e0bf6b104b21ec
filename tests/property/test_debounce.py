"""A capacity claim follows what lasts, and ignores what passes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from spoke_agent.claims.planning.debounce import SETTLING, Unsettled, settle

NOW = datetime(2030, 1, 1, tzinfo=UTC)
facts = st.dictionaries(st.sampled_from(["cpu", "gpu", "memory"]), st.sampled_from(["1", "2", "3"]))


@given(facts)
def test_a_missing_claim_is_published_at_once(observed: dict[str, str]) -> None:
    assert settle(observed, {}, {}, NOW).claims == observed


@given(facts, facts)
def test_a_lasting_change_is_published_when_due_and_not_before(
    published: dict[str, str], observed: dict[str, str]
) -> None:
    first = settle(observed, published, {}, NOW)
    just_before = settle(observed, first.claims, first.waiting, NOW + SETTLING - timedelta(seconds=1))
    then = settle(observed, just_before.claims, just_before.waiting, NOW + SETTLING)

    assert {**first.claims, **published} == {**observed, **published} == dict(first.claims)
    assert just_before.claims == first.claims
    assert then.claims == observed
    assert (then.waiting, then.due) == ({}, None)
    assert first.due == (NOW + SETTLING if first.waiting else None)


@given(facts, facts)
def test_a_passing_change_is_never_published(published: dict[str, str], passing: dict[str, str]) -> None:
    known = {name: value for name, value in passing.items() if name in published}
    during = settle(known, published, {}, NOW)
    after = settle(published, during.claims, during.waiting, NOW + SETTLING / 2)
    again = settle(known, after.claims, after.waiting, NOW + SETTLING)

    assert during.claims == after.claims == again.claims == published


def test_another_change_restarts_the_wait() -> None:
    first = settle({"cpu": "2"}, {"cpu": "1"}, {}, NOW)

    second = settle({"cpu": "3"}, {"cpu": "1"}, first.waiting, NOW + SETTLING)

    assert second.claims == {"cpu": "1"}
    assert second.waiting == {"cpu": Unsettled("3", NOW + SETTLING)}
