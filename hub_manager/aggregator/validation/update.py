"""Check updates and metrics: ordered lists of pure checks, each with its refusal.

An update is checked three times: its model when the peer joins (`layout_refusal`), its announcement before the first
byte (`announcement_refusal`), and its bytes as they arrive (`content.Inspection`). So a peer that announces a terabyte
or another model is refused before anything is stored.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from federation.exported_plan import TaskKind
from federation.model import DIGEST_PREFIX, ModelManifest, TensorSpec
from hub_manager.aggregator.domain import INITIAL_ROUND, Announcement, Metric, MetricsReported, RunParameters, Task
from hub_manager.aggregator.validation.manifest import AnnouncedTensor, ordered
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason, short

MAX_METRICS: Final = 64
"""Number of metrics of one task."""
MAX_METRIC_NAME: Final = 128
"""Bytes in UTF-8; the journal and the run's status store up to 8 KiB for a report of `MAX_METRICS`."""
MAX_SAMPLES: Final = 1 << 40
"""Samples of a metric; sums over any cohort stay exact in a float64."""

_DIGEST: Final = re.compile(re.escape(DIGEST_PREFIX) + "[0-9a-f]{64}")


def layout_refusal(announced: Sequence[AnnouncedTensor], manifest: ModelManifest) -> UpdateRefusal | None:
    """Check that a peer's model is the run's model, tensor by tensor.

    The reasons are ExtraTensor, WrongType, WrongShape, MissingTensor and TensorOrder. A shape that would broadcast is
    a different shape.
    """
    expected = {tensor.name: tensor for tensor in manifest.tensors}
    for tensor in announced:
        refusal = _tensor_refusal(tensor, expected.get(tensor.name))
        if refusal is not None:
            return refusal
    missing = expected.keys() - {tensor.name for tensor in announced}
    if missing:
        return UpdateRefusal(
            UpdateRefusalReason.MISSING_TENSOR,
            f"{len(missing)} tensors of the run's model are missing, such as {short(min(missing))}",
        )
    if len(announced) > len(expected):
        return UpdateRefusal(
            UpdateRefusalReason.EXTRA_TENSOR,
            f"{len(announced)} tensors are announced, with duplicates; the model has {len(expected)}",
        )
    return ordered(announced, manifest)


def _tensor_refusal(announced: AnnouncedTensor, expected: TensorSpec | None) -> UpdateRefusal | None:
    if expected is None:
        return UpdateRefusal(
            UpdateRefusalReason.EXTRA_TENSOR, f"tensor {short(announced.name)} is not in the run's model"
        )
    if announced.dtype != expected.dtype.value:
        message = f"tensor {short(announced.name)} has type {short(announced.dtype)} instead of {expected.dtype.value}"
        return UpdateRefusal(UpdateRefusalReason.WRONG_TYPE, message)
    if announced.shape != expected.shape:
        message = f"tensor {short(announced.name)} has shape {short(str(announced.shape))} instead of {expected.shape}"
        return UpdateRefusal(UpdateRefusalReason.WRONG_SHAPE, message)
    return None


def announcement_refusal(
    announced: Announcement, parameters: RunParameters, manifest: ModelManifest
) -> UpdateRefusal | None:
    """Return the first refusal of an update that is announced for the current round, or None."""
    return next(
        (refusal for check in _ANNOUNCEMENT if (refusal := check(announced, parameters, manifest)) is not None), None
    )


def of_training_task(announced: Announcement, parameters: RunParameters, _: ModelManifest) -> UpdateRefusal | None:
    """UnknownTask: require a training task of the plan; an initial model has no task."""
    known = {task.name for task in parameters.tasks if task.kind is TaskKind.TRAIN}
    if announced.round == INITIAL_ROUND or announced.task in known:
        return None
    return UpdateRefusal(
        UpdateRefusalReason.UNKNOWN_TASK, f"{short(announced.task)} is not a training task of the plan"
    )


def of_model_size(announced: Announcement, _: RunParameters, manifest: ModelManifest) -> UpdateRefusal | None:
    """WrongSize: require the size of the model before the first byte is read."""
    if announced.size == manifest.nbytes:
        return None
    return UpdateRefusal(
        UpdateRefusalReason.WRONG_SIZE, f"the announced size is {announced.size} bytes; the model has {manifest.nbytes}"
    )


def digest_formed(announced: Announcement, _: RunParameters, __: ModelManifest) -> UpdateRefusal | None:
    """MalformedDigest: require a BLAKE3 digest in the usual form, because it becomes part of a file name."""
    if _DIGEST.fullmatch(announced.digest):
        return None
    return UpdateRefusal(
        UpdateRefusalReason.MALFORMED_DIGEST,
        f"the digest {short(announced.digest)} is invalid: send {DIGEST_PREFIX} and 64 hexadecimal digits",
    )


def weight_bounded(announced: Announcement, parameters: RunParameters, _: ModelManifest) -> UpdateRefusal | None:
    """WeightOutOfBounds: require 1 to the run's limit; an initial model has no weight.

    The site reports the weight itself and could outweigh all others, so the run's owner sets the limit
    (`maxSamplesPerClient`).
    """
    if announced.round == INITIAL_ROUND or 1 <= announced.weight <= parameters.max_weight:
        return None
    message = (
        f"{announced.weight} samples are not between 1 and spec.server.maxSamplesPerClient, {parameters.max_weight}"
    )
    return UpdateRefusal(UpdateRefusalReason.WEIGHT_OUT_OF_BOUNDS, message)


_AnnouncementCheck: TypeAlias = Callable[[Announcement, RunParameters, ModelManifest], UpdateRefusal | None]
_ANNOUNCEMENT: Final[tuple[_AnnouncementCheck, ...]] = (of_training_task, of_model_size, digest_formed, weight_bounded)


def metrics_refusal(reported: MetricsReported, tasks: Sequence[Task]) -> UpdateRefusal | None:
    """Return the first refusal of metrics that are reported for the current round, or None.

    UnknownTask: the task must be in the work order. TooManyMetrics: at most 64. WeightOutOfBounds: at least one sample.
    """
    if reported.task not in {task.name for task in tasks}:
        return UpdateRefusal(
            UpdateRefusalReason.UNKNOWN_TASK, f"{short(reported.task)} is not a task of this work order"
        )
    if len(reported.metrics) > MAX_METRICS:
        return UpdateRefusal(
            UpdateRefusalReason.TOO_MANY_METRICS,
            f"the task has {len(reported.metrics)} metrics; the limit is {MAX_METRICS}",
        )
    if not 1 <= reported.samples <= MAX_SAMPLES:
        return UpdateRefusal(
            UpdateRefusalReason.WEIGHT_OUT_OF_BOUNDS, f"{reported.samples} samples are not between 1 and {MAX_SAMPLES}"
        )
    return next((refusal for metric in reported.metrics if (refusal := _metric_refusal(metric)) is not None), None)


def _metric_refusal(metric: Metric) -> UpdateRefusal | None:
    """MetricName, MetricNotFinite: require a short printable name and a finite value."""
    name = metric.name
    # A name with a lone surrogate is not printable, so that encoding the others can't fail.
    if not name or not name.isprintable() or len(name.encode()) > MAX_METRIC_NAME:
        return UpdateRefusal(
            UpdateRefusalReason.METRIC_NAME,
            f"the metric name {short(name)} is invalid: use 1 to {MAX_METRIC_NAME} printable bytes",
        )
    if not math.isfinite(metric.value):
        return UpdateRefusal(UpdateRefusalReason.METRIC_NOT_FINITE, f"metric {short(name)} is {metric.value}")
    return None
