"""A run computes the reference's model to the last bit, after a crash before any write and in any order of arrival."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model import digest_of
from hub_manager.aggregator.rounds.records import DurableRecord, Snapshot
from hub_manager.aggregator.storage.journal import open_journal
from tests.support.exchange.engine_runs import (
    COHORT,
    RUN,
    TERMS,
    Sites,
    expected_models,
    killed_before_write,
    stored_model,
)

EXPECTED = expected_models()


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as path:
        yield Path(path) / "run"


def test_undisturbed_run_equals_the_reference(folder: Path) -> None:
    sites = Sites(folder)
    engine = sites.run_to_the_end()
    assert [stored_model(engine, TERMS.rounds - 1), stored_model(engine, TERMS.rounds)] == EXPECTED[-2:]
    assert sites.lives == 1
    assert not list((folder / "updates").iterdir())
    recorded: list[DurableRecord] = []
    journal, _ = open_journal(folder / "journal", RUN, None, lambda _, record: recorded.append(record))
    journal.close()
    assert isinstance(recorded[0], Snapshot), "the journal was compacted"
    assert not any(isinstance(record, Snapshot) for record in recorded[1:])


@settings(deadline=None)
@given(order=st.permutations(COHORT))
def test_model_is_independent_of_the_order_of_arrival(order: list[str]) -> None:
    with TemporaryDirectory() as path:
        engine = Sites(Path(path), lambda peers: sorted(peers, key=order.index)).run_to_the_end()
        assert stored_model(engine, TERMS.rounds) == EXPECTED[-1]


def test_run_survives_a_crash_before_any_write(tmp_path: Path) -> None:
    with killed_before_write() as made:
        calm = Sites(tmp_path / "counted")
        calm.run_to_the_end()
    writes = made[0]
    assert writes > 100
    for number in range(1, writes + 1):
        sites = Sites(tmp_path / f"killed-{number}")
        with killed_before_write(number):
            engine = sites.run_to_the_end()
        assert sites.lives == 2, number
        assert sites.sent == calm.sent, f"after {number}: no byte that the spool took is asked for again"
        assert stored_model(engine, TERMS.rounds) == EXPECTED[-1], number


@settings(deadline=None)
@given(kills=st.lists(st.integers(1, 300), min_size=2, max_size=6, unique=True))
def test_run_survives_repeated_crashes(kills: list[int]) -> None:
    with TemporaryDirectory() as path, killed_before_write(*kills):
        engine = Sites(Path(path)).run_to_the_end()
    assert engine.state.model == digest_of(EXPECTED[-1])
