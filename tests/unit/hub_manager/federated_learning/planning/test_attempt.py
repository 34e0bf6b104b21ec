"""Test the hash of a spec by which an attempt is identified."""

import pytest

from hub_manager.federated_learning.planning.attempt import SpecHash
from tests.support.builders.run_objects import run_json, run_of


@pytest.mark.parametrize("text", ["training-spec", "training-spec-plan"])
def test_a_recorded_hash_is_parsed_and_written_unchanged(text: str) -> None:
    assert str(SpecHash.parse(text)) == text


@pytest.mark.parametrize("text", ["", "-", "training", "a-b-c-d"])
def test_any_recorded_text_is_parsed(text: str) -> None:
    assert not SpecHash.parse(text).is_same_spec(SpecHash.of(run_of(run_json()).spec))


def test_the_join_policy_changes_the_spec_but_not_the_training() -> None:
    frozen = SpecHash.of(run_of(run_json(server={"joinPolicy": "Frozen"})).spec)
    open_to_all = SpecHash.of(run_of(run_json(server={"joinPolicy": "NextRound"})).spec)

    assert frozen.training == open_to_all.training
    assert not frozen.is_same_spec(open_to_all)
