"""The journal restores appended records, cuts off a torn last line, and rejects damage."""

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_manager.aggregator.domain import Metric
from hub_manager.aggregator.rounds import records
from hub_manager.aggregator.rounds.records import DurableRecord, RunFailureReason
from hub_manager.aggregator.rounds.snapshot import snapshot_of
from hub_manager.aggregator.storage.journal import Journal, JournalDamaged, open_journal
from tests.support.builders.models import MIXED
from tests.support.exchange.rounds import TASKS
from tests.support.exchange.rounds import opened as opened_run

STEPS: list[list[DurableRecord]] = [
    [records.Started(12.25)],
    [records.InitialModelRequested("c1", 100.1)],
    [records.InitialModelCounted("c1", "blake3:aa", MIXED), records.CohortApplied(7), records.PeerAdmitted("c3")],
    [records.ModelRecorded(0, "blake3:aa", MIXED), records.RoundOpened(1, ("c1", "c10"), 1e9 + 0.1)],
    [records.UpdateCounted("c1", "blake3:bb", 1 << 40), records.PeerDropped("c10")],
    [records.MetricsCounted("c1", "train", 5, (Metric("løss", 0.1),)), records.MetricsAwaited(3.0)],
    [records.RoundExtended(4.0), records.WaitRenewed(5.0), records.RoundClosed()],
    [records.RolledBack(0, "blake3:aa"), records.EvaluationOpened(("c1",), 7.0)],
    [snapshot_of(opened_run(tasks=TASKS).state)],
    [records.RunEnded(RunFailureReason.QUORUM_LOST, "2 are needed"), records.RunEnded(None, "")],
]
ALL = tuple(record for step in STEPS for record in step)

ON_DISK = {
    "Started": ["deadline"],
    "WaitRenewed": ["deadline"],
    "ModelKnown": ["round", "digest", "manifest"],
    "CohortKnown": ["generation"],
    "PeerTaken": ["peer"],
    "PeerDropped": ["peer"],
    "SeedAsked": ["peer", "deadline"],
    "SeedCounted": ["peer", "digest", "manifest"],
    "RoundOpened": ["round", "roster", "deadline"],
    "UpdateCounted": ["peer", "digest", "weight"],
    "MetricsCounted": ["peer", "task", "samples", "metrics"],
    "MetricsAwaited": ["deadline"],
    "RoundExtended": ["deadline"],
    "RoundClosed": [],
    "EvaluationOpened": ["roster", "deadline"],
    "RolledBack": ["round", "digest"],
    "RunEnded": ["failure", "message"],
    "Snapshot": [
        "phase",
        "cohort",
        "removed",
        "generation",
        "manifest",
        "model",
        "model_round",
        "round",
        "roster",
        "parts",
        "metrics",
        "asked",
        "deadline",
        "settling",
        "overdue",
        "ended",
    ],
}
"""Names of each record and its fields in the journal, which stay the same when code is renamed."""


def opened(path: Path, run: str = "run") -> tuple[Journal, tuple[DurableRecord, ...]]:
    """Open the journal and return it with all its records."""
    return open_journal(path, run, (), lambda found, record: (*found, record))


def written(path: Path) -> bytes:
    journal, found = opened(path)
    assert found == ()
    for step in STEPS:
        journal.append(step)
    journal.append([])
    journal.close()
    return path.read_bytes()


def read(path: Path, run: str = "run") -> tuple[DurableRecord, ...]:
    journal, found = opened(path, run)
    journal.close()
    return found


def test_every_record_is_read_back(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    assert read(tmp_path / "journal") == ALL


def test_every_kind_of_record_is_tested() -> None:
    assert {type(record) for record in ALL} == set(records.DurableRecord.__args__)


def test_names_on_disk_outlive_a_rename_in_the_code(tmp_path: Path) -> None:
    lines = [json.loads(line.partition(b" ")[2]) for line in written(tmp_path / "journal").splitlines()]

    found = {record.pop("fact"): set(record) for line in lines[1:] for record in line["facts"]}

    assert found == {tag: set(fields) for tag, fields in ON_DISK.items()}


def test_torn_last_line_loses_only_its_step(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = written(path)
    last = content.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(content)):
        path.write_bytes(content[:end])
        assert read(path) == ALL[:-2]
        assert path.read_bytes() == content[:last]


def test_continues_after_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(written(path)[:-3] + b"\0\0\0")
    journal, found = opened(path)
    journal.append(STEPS[-1])
    journal.close()
    assert (found, read(path)) == (ALL[:-2], ALL)


@settings(deadline=None)
@given(data=st.data())
def test_damage_before_the_end_is_an_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    content = bytearray(written(path))
    last = content.rindex(b"\n", 0, -1)
    place = data.draw(st.integers(0, last - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(JournalDamaged):
        read(path)


def test_lost_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    lines = written(path).splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    with pytest.raises(JournalDamaged, match="line 4"):
        read(path)


SNAPSHOT = snapshot_of(opened_run().state)


def compacted(path: Path) -> None:
    written(path)
    journal, _ = opened(path)
    journal.compact(SNAPSHOT)
    journal.close()


def test_compacted_journal_has_the_snapshot_and_later_records(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    (tmp_path / "journal.partial").write_text("of a process that died")
    written(path)
    journal, _ = opened(path)
    journal.compact(SNAPSHOT)
    journal.append(STEPS[0])
    journal.close()
    assert read(path) == (SNAPSHOT, *STEPS[0])
    assert [file.name for file in tmp_path.iterdir()] == ["journal"]


def test_damaged_snapshot_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    compacted(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(JournalDamaged, match="line 1"):
        read(path)


def test_torn_new_journal_is_created_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    read(path)
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        assert read(path) == ()
        assert path.read_bytes() == content


def test_reading_needs_memory_for_one_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal, _ = opened(path)
    for _ in range(1000):
        journal.append([records.UpdateCounted("c1", "blake3:" + "b" * 1000, 1)])
    journal.close()
    tracemalloc.start()
    try:
        journal, read_lines = open_journal(path, "run", 0, lambda count, _: count + 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    journal.close()
    assert read_lines == 1000
    assert peak < path.stat().st_size / 4


def test_journal_of_another_run_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    with pytest.raises(JournalDamaged, match="use a separate folder for each run"):
        read(tmp_path / "journal", "other")
