"""Validate an untrusted list of tensors, and build a manifest from it.

The list comes from a workspace or from a collaborator, and is hostile until it has passed every check. Nothing is
allocated for the sizes that it announces. Sums are Python integers, which don't overflow. Each dimension is also
limited by itself, because a dimension of 0 would hide one that other programs can't represent.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from federation.model import DType, ModelManifest, TensorSpec, manifest_of
from federation.safetensors import METADATA_KEY
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason, short

MAX_NAME_BYTES: Final = 1024
MAX_TENSORS: Final = 65_536
"""Upper bound for any model; `exchange.prescan` rejects a join with more before it is parsed."""
MAX_RANK: Final = 32
"""Dimensions; NumPy before 2.0, which collaborators may use, supports no more."""


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Limits for the models of a run."""

    max_bytes: int = 16 << 30
    max_tensors: int = MAX_TENSORS
    """At most `MAX_TENSORS`."""


@dataclass(frozen=True, slots=True)
class AnnouncedTensor:
    """One tensor as a peer announces it, not validated yet."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def read_manifest(announced: Sequence[AnnouncedTensor], limits: ModelLimits) -> ModelManifest | UpdateRefusal:
    """Build the manifest of a model with these tensors, or return the first refusal.

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
    """TensorOrder: refuse tensors in another order than the layout, in which the values travel."""
    for tensor, expected in zip(announced, manifest.tensors, strict=True):
        if tensor.name != expected.name:
            message = (
                f"tensor {short(tensor.name)} is in the place of {short(expected.name)}: "
                "order the tensors by type, widest first, then by name"
            )
            return UpdateRefusal(UpdateRefusalReason.TENSOR_ORDER, message)
    return None


def named(tensor: AnnouncedTensor, _: ModelLimits) -> UpdateRefusal | None:
    """TensorName: require 1 to 1024 printable bytes in UTF-8, and not the name that safetensors reserves."""
    name = tensor.name
    # A name with a lone surrogate is not printable, so that encoding the others can't fail.
    if name and name.isprintable() and len(name.encode()) <= MAX_NAME_BYTES and name != METADATA_KEY:
        return None
    return UpdateRefusal(UpdateRefusalReason.TENSOR_NAME, f"the tensor name {short(name)} is invalid")


def typed(tensor: AnnouncedTensor, _: ModelLimits) -> UpdateRefusal | None:
    """TensorType: require a supported element type."""
    if tensor.dtype in {dtype.value for dtype in DType}:
        return None
    supported = ", ".join(dtype.value for dtype in DType)
    return UpdateRefusal(
        UpdateRefusalReason.TENSOR_TYPE,
        f"tensor {short(tensor.name)} has unsupported type {short(tensor.dtype)}; use one of {supported}",
    )


def shaped(tensor: AnnouncedTensor, limits: ModelLimits) -> UpdateRefusal | None:
    """TensorShape, ModelTooLarge: require at most 32 dimensions, each 0 or more, within the limit on bytes.

    The product of the dimensions above 0 is limited as well, because other programs compute it in 64 bits.
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
    """DuplicateTensor: require unique names."""
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
    refusals = (check(tensor, limits) for tensor in tensors for check in checks)
    return next((refusal for refusal in refusals if refusal is not None), None)
