"""Whether a file is the model that a run says it is: the digest of its tensors, by the function of `federation.model`.

The run's digest is that of the tensors' bytes, which stand after the safetensors header; what the header says of names
and shapes is covered by the digest of the whole file, which the checkpoint's `manifest.json` beside it has.
"""

import mmap
from pathlib import Path

import msgspec

from federation.checkpoint import CheckpointManifest
from federation.model import DIGEST_PREFIX, digest_of
from federation.safetensors import HEADER_LENGTH, tensors_start
from kubectl_fl.errors import CommandError


class ModelMismatch(CommandError):
    """The file is not what the run says."""


def manifest_file_digest(manifest: bytes, digest: str) -> str:
    """The digest of the whole file, as the checkpoint's manifest has it.

    Args:
        manifest: `manifest.json`.
        digest: Of the tensors, as the run says it.

    Raises:
        ModelMismatch: The manifest is none, or of another model.
    """
    try:
        found = msgspec.json.decode(manifest, type=CheckpointManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelMismatch(f"the checkpoint's manifest can't be read: {error}") from error
    if found.model.digest != digest:
        raise ModelMismatch(
            f"the checkpoint's manifest is of another model, {found.model.digest}: was there a new round?"
        )
    return found.model.file_digest


def verify_model(path: Path, size: int, digest: str, whole: str = "") -> None:
    """Nothing, where the file is that model.

    Args:
        path: The file.
        size: Bytes of the tensors, as the run says it.
        digest: Of the tensors.
        whole: The digest of the whole file, where it is known.

    Raises:
        ModelMismatch: It is another, or damaged.
        OSError: It can't be read.
    """
    if not digest.startswith(DIGEST_PREFIX):
        raise ModelMismatch(f"the run's digest {digest[:80]} is none of BLAKE3: this version checks no other")
    length = path.stat().st_size
    if length < HEADER_LENGTH:
        raise ModelMismatch(f"{path} has {length} bytes: it is no safetensors file")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        start = tensors_start(mapped[:HEADER_LENGTH])
        if length - start != size:
            raise ModelMismatch(f"{path} has {length} bytes, of which {size} after the header were to be the tensors")
        with memoryview(mapped) as view:
            with view[start:] as tensors:
                found = digest_of(tensors)
            complete = digest_of(view) if whole else ""
    if found != digest:
        raise ModelMismatch(f"{path} has the digest {found}, the run says {digest}")
    if complete != whole:
        raise ModelMismatch(f"{path}: its header is not the one that was stored ({complete}, expected {whole})")
