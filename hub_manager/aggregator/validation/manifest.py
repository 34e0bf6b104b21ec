"""Which models a run takes: a stranger's list of tensors is read into a manifest, or refused by name.

The list may come from a workspace, a ConfigMap or a collaborator that gives the first model, and is hostile until it
has passed. Nothing is allocated for what it announces. Bounds are on sums in Python's integers, which don't overflow;
each dimension is bounded by itself, so that a dimension of nought can't hide one that no other program can hold.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from federation.model import DType, ModelManifest, TensorSpec, manifest_of
from federation.safetensors import METADATA_KEY
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason, short

MAX_NAME_BYTES: Final = 1024
MAX_TENSORS: Final = 65_536
"""Of a model, whatever an administrator sets; a join with more is not even read (counts.py)."""
MAX_RANK: Final = 32
"""Dimensions; NumPy before 2.0 knows no more, and collaborators may bring it."""


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What an administrator can set about the models of a run."""

    max_bytes: int = 16 << 30
    max_tensors: int = MAX_TENSORS
    """At most that."""


@dataclass(frozen=True, slots=True)
class AnnouncedTensor:
    """One tensor as a stranger announces it; nothing about it holds yet."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def read_manifest(announced: Sequence[AnnouncedTensor], limits: ModelLimits) -> ModelManifest | UpdateRefusal:
    """The manifest of a model with these tensors, or the first refusal.

    Args:
        announced: In the order of `federation.model.layout_order`, which is that of the values.
        limits: Of the run.
    """
    if not announced:
        return UpdateRefusal(UpdateRefusalReason.NO_TENSORS, "the model has no tensors")
    if len(announced) > limits.max_tensors:
        return UpdateRefusal(
            UpdateRefusalReason.TOO_MANY_TENSORS,
            f"the model has {len(announced)} tensors; the limit is {limits.max_tensors}",
        )
    refusal = _first(_CHECKS, announced, limits) or _duplicate(announced)
    if refusal is not None:
        return refusal
    manifest = manifest_of(TensorSpec(tensor.name, DType(tensor.dtype), tensor.shape) for tensor in announced)
    if manifest.nbytes > limits.max_bytes:
        return _too_large(f"the model of {manifest.nbytes} bytes", limits)
    if manifest.nbytes == 0:
        return UpdateRefusal(UpdateRefusalReason.NO_TENSORS, "every tensor of the model is empty")
    return ordered(announced, manifest) or manifest


def ordered(announced: Sequence[AnnouncedTensor], manifest: ModelManifest) -> UpdateRefusal | None:
    """TensorOrder: the values travel in the order of the layout, so whoever lists another would send another model."""
    for found, expected in zip(announced, manifest.tensors, strict=True):
        if found.name != expected.name:
            message = (
                f"tensor {short(found.name)} is in the place of {short(expected.name)}: "
                "order the tensors by type, widest first, then by name"
            )
            return UpdateRefusal(UpdateRefusalReason.TENSOR_ORDER, message)
    return None


def named(tensor: AnnouncedTensor, _: ModelLimits) -> UpdateRefusal | None:
    """TensorName: printable, of 1 to 1024 bytes in UTF-8, and not the name that safetensors keeps for itself."""
    name = tensor.name
    # A name with a lone surrogate is not printable, so that encoding the others can't fail.
    if name and name.isprintable() and len(name.encode()) <= MAX_NAME_BYTES and name != METADATA_KEY:
        return None
    return UpdateRefusal(UpdateRefusalReason.TENSOR_NAME, f"the tensor name {short(name)} is invalid")


def typed(tensor: AnnouncedTensor, _: ModelLimits) -> UpdateRefusal | None:
    """TensorType: one of the element types that can be averaged."""
    if tensor.dtype in {dtype.value for dtype in DType}:
        return None
    supported = ", ".join(dtype.value for dtype in DType)
    return UpdateRefusal(
        UpdateRefusalReason.TENSOR_TYPE,
        f"tensor {short(tensor.name)} has unsupported type {short(tensor.dtype)}; use one of {supported}",
    )


def shaped(tensor: AnnouncedTensor, limits: ModelLimits) -> UpdateRefusal | None:
    """TensorShape, ModelTooLarge: at most 32 dimensions, none negative, whose product stays within the bound.

    The product of the dimensions above nought is bounded as well: other programs compute it in 64 bits.
    """
    if len(tensor.shape) > MAX_RANK or any(dimension < 0 for dimension in tensor.shape):
        message = (
            f"the shape of tensor {short(tensor.name)} is invalid: use at most {MAX_RANK} dimensions, each 0 or more"
        )
        return UpdateRefusal(UpdateRefusalReason.TENSOR_SHAPE, message)
    extent = DType(tensor.dtype).width
    for dimension in tensor.shape:
        extent *= max(dimension, 1)
        if extent > limits.max_bytes:
            return _too_large(f"tensor {short(tensor.name)}", limits)
    return None


def _duplicate(announced: Iterable[AnnouncedTensor]) -> UpdateRefusal | None:
    """DuplicateTensor: a name stands for one tensor."""
    seen: set[str] = set()
    for tensor in announced:
        if tensor.name in seen:
            return UpdateRefusal(
                UpdateRefusalReason.DUPLICATE_TENSOR, f"the tensor name {short(tensor.name)} is duplicated"
            )
        seen.add(tensor.name)
    return None


def _too_large(what: str, limits: ModelLimits) -> UpdateRefusal:
    return UpdateRefusal(UpdateRefusalReason.MODEL_TOO_LARGE, f"{what} exceeds the limit of {limits.max_bytes} bytes")


_Check = Callable[[AnnouncedTensor, ModelLimits], UpdateRefusal | None]
_CHECKS: Final[tuple[_Check, ...]] = (named, typed, shaped)


def _first(checks: Sequence[_Check], tensors: Iterable[AnnouncedTensor], limits: ModelLimits) -> UpdateRefusal | None:
    found = (check(tensor, limits) for tensor in tensors for check in checks)
    return next((refusal for refusal in found if refusal is not None), None)
