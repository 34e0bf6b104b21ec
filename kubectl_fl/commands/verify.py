"""Verification of a model file against the digest in the run's status.

That digest covers the tensor bytes after the safetensors header. The header, with names and shapes, is covered by the
file digest in the checkpoint's `manifest.json`.
"""

import mmap
from pathlib import Path

import msgspec

from federation.checkpoint import CheckpointManifest
from federation.model import DIGEST_PREFIX, digest_of
from federation.safetensors import HEADER_LENGTH, tensors_start
from kubectl_fl.errors import CommandError


class ModelMismatch(CommandError):
    """An error for a file that does not match the run's status."""


def manifest_file_digest(manifest: bytes, digest: str) -> str:
    """Return the file digest from the checkpoint's manifest.

    Args:
        manifest: `manifest.json`.
        digest: The tensor digest in the run's status.

    Raises:
        ModelMismatch: The manifest is invalid or describes another model.
    """
    try:
        found = msgspec.json.decode(manifest, type=CheckpointManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelMismatch(f"the checkpoint's manifest can't be read: {error}") from error
    if found.model.digest != digest:
        raise ModelMismatch(
            f"the checkpoint's manifest describes another model, {found.model.digest}: retry if a round has just closed"
        )
    return found.model.file_digest


def verify_model(path: Path, size: int, digest: str, whole: str = "") -> None:
    """Reject a file that is not the expected model.

    Args:
        path: The file.
        size: The tensor bytes in the run's status.
        digest: The tensor digest.
        whole: The file digest, or `""` to skip it.

    Raises:
        ModelMismatch: The file is another model or is corrupted.
        OSError: The file can't be read.
    """
    if not digest.startswith(DIGEST_PREFIX):
        raise ModelMismatch(f"the run's digest {digest[:80]} is not a BLAKE3 digest, the only supported algorithm")
    length = path.stat().st_size
    if length < HEADER_LENGTH:
        raise ModelMismatch(f"{path} has {length} bytes and is not a safetensors file")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        start = tensors_start(mapped[:HEADER_LENGTH])
        if length - start != size:
            raise ModelMismatch(f"{path} has {length} bytes; expected {size} tensor bytes after the header")
        with memoryview(mapped) as view:
            with view[start:] as tensors:
                found = digest_of(tensors)
            complete = digest_of(view) if whole else ""
    if found != digest:
        raise ModelMismatch(f"{path} has digest {found}, expected {digest}")
    if complete != whole:
        raise ModelMismatch(f"{path} has another header than the stored file: digest {complete}, expected {whole}")
