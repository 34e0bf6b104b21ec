"""Checkpoints: the model after each round, from which a restarted run continues and users read the result.

Each round has one folder. It contains the model and the optimizer's slots, each as a safetensors file, and
`manifest.json` with their layout and digests. The store writes a folder under a temporary name, synchronises each file,
and then renames the folder, so a folder with its final name is complete. The newest two are kept, in case the newest is
damaged.

The digest of a model covers the bytes of its tensors, as collaborators receive them. `fileDigest` covers the whole
file, as `b3sum` prints it.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from federation.checkpoint import FORMAT, MANIFEST_FILE, MODEL, CheckpointManifest, TensorFile
from federation.model import DIGEST_PREFIX, ModelManifest
from federation.safetensors import HEADER_LENGTH, header, tensors_start
from hub_manager.aggregator.domain import INITIAL_ROUND, StoredModel
from hub_manager.aggregator.numerics.fold import Diverged, TensorSource, Write, slot_manifest
from hub_manager.aggregator.storage.volume import (
    PRIVATE,
    FileSource,
    make_folder,
    remove_folder,
    sync_folder,
    write_whole,
)

KEPT: Final = 2
_COPIED: Final = 1 << 20
"""Bytes to read or copy at a time."""


class Checkpoint(CheckpointManifest, frozen=True):
    """A checkpoint's `manifest.json`."""

    @property
    def stored(self) -> StoredModel:
        """The model as the round engine uses it."""
        return StoredModel(self.round, self.model.digest, self.tensors)


class CheckpointStore:
    """The checkpoints of one run, below one folder; written by one thread at a time."""

    def __init__(self, folder: Path, run: str) -> None:
        """Set the folder.

        Args:
            folder: Created with the first checkpoint.
            run: The run's unique ID, which every file contains.
        """
        self._folder = folder
        self._run = run

    def store(
        self,
        round_number: int,
        manifest: ModelManifest,
        slots: Sequence[str],
        produce: Callable[[Write, Sequence[Write]], Diverged | None],
    ) -> StoredModel | Diverged:
        """Write the checkpoint of a round durably, and remove all but the newest two.

        Args:
            round_number: The round whose result the model is.
            manifest: The model's layout.
            slots: The names of the optimizer's slots, each laid out as `slot_manifest` describes.
            produce: Writes the model and each slot. If it returns `Diverged`, nothing is stored.

        Returns:
            The stored model, or the `Diverged` that `produce` returned.

        Raises:
            OSError: The volume is full, or failed; nothing is stored.
            ValueError: `produce` wrote more or fewer bytes than the layouts have.
        """
        partial = self._folder / f".round-{round_number:06}.partial"
        remove_folder(partial)
        make_folder(partial)
        layouts = {MODEL: manifest, **dict.fromkeys(slots, slot_manifest(manifest))}
        with ExitStack() as stack:
            writers = [
                _TensorWriter(partial, name, layout, self._run, round_number) for name, layout in layouts.items()
            ]
            for writer in writers:
                stack.callback(writer.close)
            diverged = produce(writers[0].write, [writer.write for writer in writers[1:]])
            if diverged is not None:
                remove_folder(partial)
                return diverged
            model, *slot_files = [writer.finish() for writer in writers]
        checkpoint = Checkpoint(FORMAT, self._run, round_number, model, manifest, tuple(slot_files))
        _write_durably(partial / MANIFEST_FILE, msgspec.json.format(msgspec.json.encode(checkpoint)) + b"\n")
        self._put_in_place(partial, round_number)
        for older in self._rounds()[KEPT:]:
            remove_folder(self._path(older))
        return checkpoint.stored

    def store_initial_model(self, manifest: ModelManifest, source: TensorSource) -> StoredModel:
        """Store a copy of a model as the run's initial model.

        Raises:
            OSError: The volume is full or failed, or the source is too short.
        """

        def copy(write: Write, _: Sequence[Write]) -> None:
            for offset in range(0, manifest.nbytes, _COPIED):
                piece = memoryview(bytearray(min(_COPIED, manifest.nbytes - offset)))
                source.read_into(offset, piece)
                write(piece)

        stored = self.store(INITIAL_ROUND, manifest, (), copy)
        assert not isinstance(stored, Diverged)  # noqa: S101 -- a copy doesn't diverge
        return stored

    def recover(self) -> Checkpoint | None:
        """Return the newest intact checkpoint, whose files all match the digests of its manifest; reads all its files.

        Raises:
            OSError: The volume failed.
        """
        checkpoints = (self._read(round_number) for round_number in self._rounds())
        return next((checkpoint for checkpoint in checkpoints if checkpoint is not None), None)

    def source(self, round_number: int) -> FileSource:
        """Open the tensors of a checkpoint's model; the caller closes the source.

        Raises:
            OSError: The checkpoint is missing.
        """
        path = self.path(round_number)
        return FileSource(path, _start(path))

    def slot(self, round_number: int, name: str) -> FileSource:
        """Open an optimizer slot, laid out as `slot_manifest` describes; the caller closes it.

        Args:
            round_number: The round after which the slot was stored.
            name: Of the slot.

        Raises:
            OSError: The checkpoint or the slot is missing.
        """
        path = self._path(round_number) / f"{name}.safetensors"
        return FileSource(path, _start(path))

    def path(self, round_number: int) -> Path:
        """Return the path of the file with a round's model."""
        return self._path(round_number) / f"{MODEL}.safetensors"

    def _put_in_place(self, complete: Path, round_number: int) -> None:
        sync_folder(complete)
        folder = self._path(round_number)
        remove_folder(folder)  # A process that crashed before it wrote the journal left an equal one.
        complete.rename(folder)
        sync_folder(self._folder)

    def _path(self, round_number: int) -> Path:
        return self._folder / f"round-{round_number:06}"

    def _rounds(self) -> list[int]:
        """Return the rounds that have a checkpoint, newest first."""
        names = (path.name.removeprefix("round-") for path in self._folder.glob("round-*"))
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def _read(self, round_number: int) -> Checkpoint | None:
        folder = self._path(round_number)
        try:
            checkpoint = _manifest(folder)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        if (checkpoint.run, checkpoint.round) != (self._run, round_number) or checkpoint.format != FORMAT:
            return None
        files = (checkpoint.model, *checkpoint.slots)
        return checkpoint if all(_is_whole(folder, file) for file in files) else None


class _TensorWriter:
    """Writer of one safetensors file."""

    def __init__(self, folder: Path, name: str, manifest: ModelManifest, run: str, round_number: int) -> None:
        self._name = name
        self._expected = manifest.nbytes
        self._written = 0
        first = header(manifest, {"run": run, "round": str(round_number)})
        self._tensors, self._whole = blake3(), blake3(first)
        path = folder / f"{name}.safetensors"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        write_whole(self._file, first)

    def write(self, data: memoryview) -> None:
        write_whole(self._file, data)
        self._tensors.update(data)
        self._whole.update(data)
        self._written += len(data)

    def finish(self) -> TensorFile:
        if self._written != self._expected:
            raise ValueError(f"{self._name}: {self._written} bytes were written; the layout has {self._expected}")
        os.fsync(self._file)
        digests = (DIGEST_PREFIX + hasher.hexdigest() for hasher in (self._tensors, self._whole))
        return TensorFile(self._name, self._expected, *digests)

    def close(self) -> None:
        os.close(self._file)


def _manifest(folder: Path) -> Checkpoint:
    return msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Checkpoint)


def _start(path: Path) -> int:
    with path.open("rb") as file:
        return tensors_start(file.read(HEADER_LENGTH))


def _write_durably(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    try:
        write_whole(file, data)
        os.fsync(file)
    finally:
        os.close(file)


def _is_whole(folder: Path, file: TensorFile) -> bool:
    hasher = blake3()
    try:
        with (folder / f"{file.name}.safetensors").open("rb", buffering=0) as opened:
            while chunk := opened.read(_COPIED):
                hasher.update(chunk)
    except FileNotFoundError:
        return False
    return DIGEST_PREFIX + hasher.hexdigest() == file.file_digest
