"""Checkpoints are readable by the safetensors library, complete, and recovered after damage."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from blake3 import blake3
from safetensors import safe_open

from federation.model import DType, TensorSpec, digest_of, manifest_of
from hub_manager.aggregator.numerics.fold import Diverged, Write, slot_manifest
from hub_manager.aggregator.storage import checkpoint
from hub_manager.aggregator.storage.checkpoint import Checkpoint, CheckpointStore
from tests.support.builders.models import MIXED, Held, elements, packed, rounded

PLAIN = manifest_of([TensorSpec("w", DType.FLOAT32, (2, 3)), TensorSpec("half", DType.FLOAT16, (3,))])


def model(start: float) -> bytes:
    return packed(MIXED, rounded(MIXED, [start + index for index in range(elements(MIXED))]))


def store(checkpoints: CheckpointStore, round_number: int) -> None:
    def produce(write: Write, slots: Sequence[Write]) -> None:
        write(memoryview(model(round_number)))
        for slot in slots:
            slot(memoryview(bytes(slot_manifest(MIXED).nbytes)))

    found = checkpoints.store(round_number, MIXED, ("first-moment",), produce)
    assert not isinstance(found, Diverged)
    assert found.digest == digest_of(model(round_number))


def recovered(checkpoints: CheckpointStore) -> int | None:
    found = checkpoints.recover()
    return found.round if found is not None else None


def test_safetensors_library_reads_the_model(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    raw = np.arange(6, dtype="<f4").tobytes() + np.ones(3, dtype="<f2").tobytes()
    checkpoints.store_initial_model(PLAIN, Held(raw))
    with safe_open(checkpoints.path(0), "numpy") as file:
        assert file.metadata() == {"run": "run", "round": "0"}
        assert np.array_equal(file.get_tensor("w"), np.arange(6, dtype=np.float32).reshape(2, 3))
        assert np.array_equal(file.get_tensor("half"), np.ones(3, dtype=np.float16))


def test_file_digest_matches_b3sum(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    store(checkpoints, 1)
    manifest = msgspec.json.decode((tmp_path / "round-000001" / "manifest.json").read_bytes())
    assert manifest["model"]["fileDigest"] == "blake3:" + blake3(checkpoints.path(1).read_bytes()).hexdigest()
    assert msgspec.convert(manifest, Checkpoint).stored.manifest == MIXED


def test_tensors_are_read_at_offsets(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    store(checkpoints, 1)
    into = bytearray(20)
    with checkpoints.source(1) as source:
        source.read_into(30, memoryview(into))
        assert source.size == MIXED.nbytes
    assert bytes(into) == model(1)[30:50]


def test_two_checkpoints_are_kept_and_the_newest_is_recovered(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    assert recovered(checkpoints) is None
    for round_number in range(4):
        store(checkpoints, round_number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-000002", "round-000003"]
    assert recovered(checkpoints) == 3


DAMAGE = {
    "model": ("model.safetensors", lambda raw: raw[:-1] + b"\x99"),
    "model cut": ("model.safetensors", lambda raw: raw[:-1]),
    "header": ("model.safetensors", lambda raw: raw[:10] + b"?" + raw[11:]),
    "slot": ("first-moment.safetensors", lambda raw: raw + b"\0"),
    "manifest torn": ("manifest.json", lambda raw: raw[: len(raw) // 2]),
    "manifest of another run": ("manifest.json", lambda raw: raw.replace(b'"run": "run"', b'"run": "nur"')),
    "manifest of another round": ("manifest.json", lambda raw: raw.replace(b'"round": 3', b'"round": 2')),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path: Path, name: str, damage: object) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    store(checkpoints, 2)
    store(checkpoints, 3)
    path = tmp_path / "round-000003" / name
    before = path.read_bytes()
    assert callable(damage)
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    assert recovered(checkpoints) == 2


def test_optimizer_slot_is_read_at_any_element(tmp_path: Path) -> None:
    values = np.arange(elements(MIXED)) + 0.1

    def produce(write: Write, slots: Sequence[Write]) -> None:
        write(memoryview(model(1)))
        slots[0](memoryview(values.astype("<f8").tobytes()))

    checkpoints = CheckpointStore(tmp_path, "run")
    checkpoints.store(1, MIXED, ("first-moment",), produce)
    for first in range(len(values)):
        into = bytearray(8 * (len(values) - first))
        with checkpoints.slot(1, "first-moment") as source:
            source.read_into(8 * first, memoryview(into))
        assert np.array_equal(np.frombuffer(into, "<f8"), values[first:])


@pytest.mark.parametrize("written_as", [1, 3])
def test_checkpoint_of_another_format_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_as: int
) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    with monkeypatch.context() as other:
        other.setattr(checkpoint, "FORMAT", written_as)
        store(checkpoints, 1)
    assert recovered(checkpoints) is None


def test_checkpoint_with_a_missing_file_is_not_intact(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    store(checkpoints, 3)
    (tmp_path / "round-000003" / "first-moment.safetensors").unlink()
    assert recovered(checkpoints) is None


def test_diverged_fold_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    store(checkpoints, 1)
    assert checkpoints.store(2, MIXED, (), lambda *_: Diverged("w")) == Diverged("w")
    assert [path.name for path in tmp_path.iterdir()] == ["round-000001"]


def test_model_of_another_length_is_not_stored(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    with pytest.raises(ValueError, match="3 bytes were written"):
        checkpoints.store(1, MIXED, (), lambda write, _: write(memoryview(b"abc")))
    assert recovered(checkpoints) is None


def test_repeated_store_replaces_the_checkpoint(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path, "run")
    store(checkpoints, 1)
    checkpoints.path(1).write_bytes(b"")
    store(checkpoints, 1)
    assert recovered(checkpoints) == 1
