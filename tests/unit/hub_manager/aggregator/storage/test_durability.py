"""Stored data survive a power loss: files are synchronised before their rename, and folders after it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from federation.model import digest_of
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.numerics.fold import Write, slot_manifest
from hub_manager.aggregator.rounds import records
from hub_manager.aggregator.rounds.snapshot import snapshot_of
from hub_manager.aggregator.rounds.state import new_run
from hub_manager.aggregator.storage.checkpoint import CheckpointStore
from hub_manager.aggregator.storage.journal import open_journal
from hub_manager.aggregator.storage.spool import Spool
from tests.support.builders.models import MIXED
from tests.support.exchange.rounds import parameters

Calls = list[tuple[str, str]]
RAW = bytes(MIXED.nbytes)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Names of the synchronised and renamed files, in order."""
    made: Calls = []

    def recorded(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def recording(first: int | Path, *rest: object) -> object:
            path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else Path(first)
            made.append((name, path.name))
            return call(first, *rest)

        return recording

    for name in ("fsync", "fdatasync", "rename", "replace"):
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    return made


def test_update_is_durable_before_its_rename(tmp_path: Path, calls: Calls) -> None:
    announced = Announcement(1, "train", len(RAW), digest_of(RAW), 1)
    with Spool(tmp_path).receive("c1", announced, MIXED) as upload:
        upload.write(0, RAW)
        calls.clear()
        upload.finish()
    part = f"c1.{digest_of(RAW).removeprefix('blake3:')[:32]}.part"
    assert calls == [("fsync", part), ("replace", part), ("fsync", "000001")]


def test_checkpoint_is_durable_before_its_rename(tmp_path: Path, calls: Calls) -> None:
    def produce(write: Write, slots: Sequence[Write]) -> None:
        write(memoryview(RAW))
        slots[0](memoryview(bytes(slot_manifest(MIXED).nbytes)))

    CheckpointStore(tmp_path, "run").store(1, MIXED, ("first-moment",), produce)
    partial = ".round-000001.partial"
    start = calls.index(("fsync", "model.safetensors"))
    assert calls[start:] == [
        ("fsync", "model.safetensors"),
        ("fsync", "first-moment.safetensors"),
        ("fsync", "manifest.json"),
        ("fsync", partial),
        ("rename", partial),
        ("fsync", tmp_path.name),
    ]


def test_appended_step_is_durable(tmp_path: Path, calls: Calls) -> None:
    journal, _ = open_journal(tmp_path / "journal", "run", None, lambda _, __: None)
    assert calls == [("fsync", "journal"), ("fsync", tmp_path.name)]
    calls.clear()
    journal.append([records.Started(1.0)])
    journal.close()
    assert calls == [("fdatasync", "journal")]


def test_compacted_journal_is_durable_before_its_rename(tmp_path: Path, calls: Calls) -> None:
    journal, _ = open_journal(tmp_path / "journal", "run", None, lambda _, __: None)
    calls.clear()
    journal.compact(snapshot_of(new_run(parameters())))
    journal.close()
    assert calls == [("fsync", "journal.partial"), ("replace", "journal.partial"), ("fsync", tmp_path.name)]


def test_journal_rejects_writes_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, _ = open_journal(tmp_path / "journal", "run", None, lambda _, __: None)

    def failing(_: int) -> None:
        raise OSError("input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        with pytest.raises(OSError, match="input/output"):
            journal.append([records.Started(1.0)])
    with pytest.raises(OSError, match="failed before"):
        journal.append([records.Started(1.0)])
    journal.close()
