"""Whatever datasets a site has, the hub finds those that it publishes and no others, within OCM's limits."""

import json
import re
from collections.abc import Mapping
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.api.ocm.claims import (
    CLAIM_SUFFIX,
    CPU_CLAIM,
    DATASET_CLAIMS,
    DATASET_SHARDS,
    DatasetName,
    PublishedAttributes,
    at_least_predicate,
    dataset_claims,
    dataset_name,
    dataset_predicate,
    datasets_in,
)

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True).map(DatasetName)
label_text = st.from_regex(r"[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,20}[a-zA-Z0-9])?", fullmatch=True)
attributes = st.builds(
    PublishedAttributes,
    rows=st.none() | st.integers(0, 2**53),
    schema=st.just("") | st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    labels=st.dictionaries(label_text, label_text, max_size=3),
)
offers = st.dictionaries(names, attributes, max_size=40)
many_long_offers = st.integers(0, 400).map(
    lambda count: {DatasetName(f"{number:063d}"): PublishedAttributes(rows=number) for number in range(count)}
)
any_offers = offers | many_long_offers

_PREDICATE = re.compile(
    r'managedCluster\.status\.clusterClaims\.exists\(c, c\.name\.startsWith\("([^"\\]*)"\) && '
    r'c\.name\.endsWith\("([^"\\]*)"\) && "([^"\\]*)" in c\.value\.parseJSON\(\)\)'
)


def holds(predicate: str, claims: Mapping[str, str]) -> bool:
    """The predicate's truth by CEL's rules; any other form than this one is refused, not guessed at."""
    form = _PREDICATE.fullmatch(predicate)
    assert form is not None
    prefix, suffix, member = form.groups()
    return any(
        name.startswith(prefix) and name.endswith(suffix) and member in json.loads(value)
        for name, value in claims.items()
    )


@given(any_offers, names)
def test_the_predicate_holds_for_exactly_the_published_datasets(
    offered: dict[DatasetName, PublishedAttributes], other: DatasetName
) -> None:
    claims = dataset_claims(offered)
    published = datasets_in(claims)

    assert all(holds(dataset_predicate(name), claims) == (name in published) for name in [*offered, other])
    assert all(published[name] == offered[name] for name in published)


@given(any_offers)
def test_no_number_of_datasets_exceeds_the_budget_or_the_length_of_a_value(
    offered: dict[DatasetName, PublishedAttributes],
) -> None:
    claims = dataset_claims(offered)

    assert len(claims) <= DATASET_SHARDS
    assert all(name in DATASET_CLAIMS and 1 <= len(value) <= 1024 for name, value in claims.items())


@given(any_offers)
def test_a_dataset_is_left_out_only_when_no_claim_has_room(offered: dict[DatasetName, PublishedAttributes]) -> None:
    claims = dataset_claims(offered)

    for name in offered.keys() - datasets_in(claims).keys():
        member = len(msgspec.json.encode({name: offered[name]})) - len("{}")
        assert len(claims) == DATASET_SHARDS
        assert all(len(value) + len(",") + member > 1024 for value in claims.values())


@settings(max_examples=60)
@given(any_offers, any_offers, st.randoms(use_true_random=False))
def test_a_published_dataset_that_stays_never_changes_its_claim_and_is_never_displaced(
    before: dict[DatasetName, PublishedAttributes],
    joining: dict[DatasetName, PublishedAttributes],
    random: Random,
) -> None:
    present = dataset_claims(before)
    leaving = {name for name in before if random.random() < 0.3}
    after = {**joining, **{name: offer for name, offer in before.items() if name not in leaving}}

    claims = dataset_claims(after, present=present)

    for claim, value in present.items():
        staying = json.loads(value).keys() - leaving
        assert staying <= json.loads(claims.get(claim, "{}")).keys()
    assert dataset_claims(after, present=claims) == claims


@given(offers, st.sets(st.sampled_from(DATASET_CLAIMS)))
def test_a_barred_claim_is_never_written(offered: dict[DatasetName, PublishedAttributes], barred: set[str]) -> None:
    claims = dataset_claims(offered, barred=barred)

    assert not barred & claims.keys()
    assert bool(claims) == (bool(offered) and len(barred) < DATASET_SHARDS)


@given(st.dictionaries(st.sampled_from(DATASET_CLAIMS), st.text() | st.binary().map(str)))
def test_claims_that_someone_scribbled_on_are_passed_over(scribbled: dict[str, str]) -> None:
    offered = {DatasetName("mnist"): PublishedAttributes(rows=1)}

    assert datasets_in(dataset_claims(offered, present=scribbled)) == offered


@given(st.text() | names)
def test_no_text_but_a_plain_name_gets_into_an_expression(text: str) -> None:
    try:
        expression = dataset_predicate(text)
    except ValueError:
        return
    assert _PREDICATE.fullmatch(expression)
    assert re.fullmatch(r"[-a-z0-9]+", text)


@pytest.mark.parametrize(
    "text",
    ["", "-a", "a-", "A", "a.b", "a b", 'x" in c.value || true || "', "a\n", "é", "a" * 64],
)
def test_a_name_that_is_no_dns_label_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ValueError, match="use at most 63 lower-case letters"):
        dataset_name(text)


def test_our_claims_come_before_any_that_begins_with_a_letter() -> None:
    assert sorted(["a", "about.k8s.io", *DATASET_CLAIMS])[:DATASET_SHARDS] == sorted(DATASET_CLAIMS)
    assert all(name.endswith(CLAIM_SUFFIX) for name in DATASET_CLAIMS)


@pytest.mark.parametrize(("length", "fits"), [(1024, True), (1025, False)])
def test_a_value_may_have_1024_characters_and_no_more(length: int, fits: bool) -> None:
    name = DatasetName("mnist")
    padding = length - len(msgspec.json.encode({name: PublishedAttributes(labels={"a": ""})}))
    offered = {name: PublishedAttributes(labels={"a": "x" * padding})}

    assert [len(value) for value in dataset_claims(offered).values()] == ([1024] if fits else [])


def test_a_numeric_claim_is_asked_for_by_its_name_and_least_amount() -> None:
    assert at_least_predicate(CPU_CLAIM, 8) == (
        "managedCluster.status.clusterClaims.exists(c, "
        'c.name == "0-cpu.federation-ai.open-cluster-management.io" && int(c.value) >= 8)'
    )
