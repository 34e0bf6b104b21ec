"""Reasons and messages for rejected input of a collaborator, as the peer, the audit log and the metrics show them."""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class UpdateRefusalReason(Enum):
    """Reason for which the aggregator rejects input of a collaborator."""

    # The manifest of a model (manifest.py).
    NO_TENSORS = "NoTensors"
    """The model has no tensors or only empty ones, or the collaborator has not announced them."""
    TOO_MANY_TENSORS = "TooManyTensors"
    """The model has more than 65,536 tensors."""
    TENSOR_NAME = "TensorName"
    """A tensor name is empty, too long, not printable or reserved by safetensors."""
    DUPLICATE_TENSOR = "DuplicateTensor"
    """Two tensors have the same name."""
    TENSOR_TYPE = "TensorType"
    """An element type is unsupported; the supported types are floating-point."""
    TENSOR_SHAPE = "TensorShape"
    """A shape has more than 32 dimensions, or a negative one."""
    MODEL_TOO_LARGE = "ModelTooLarge"
    """The model is larger than 16 GiB."""

    # Who sends, and when (rounds/decisions.py).
    NOT_IN_COHORT = "NotInCohort"
    """The cluster is not in the cohort of the run."""
    REMOVED = "Removed"
    """The hub removed the cluster from the run."""
    NOT_EXPECTED = "NotExpected"
    """The aggregator has not requested this input from the cluster."""
    OTHER_ROUND = "OtherRound"
    """The update or the metrics belong to another round than the current one."""
    REPEATED = "Repeated"
    """The same update is already counted."""
    REPLACED = "Replaced"
    """Another update of the cluster is already counted in this round."""
    ROUND_CLOSED = "RoundClosed"
    """The round closed before the update was complete."""
    RUN_OVER = "RunOver"
    """The run has ended."""
    NOT_JOINED = "NotJoined"
    """The cluster has not joined since the aggregator started."""

    # What an update announces (update.py).
    MISSING_TENSOR = "MissingTensor"
    """A tensor of the run's model is missing."""
    EXTRA_TENSOR = "ExtraTensor"
    """A tensor is not in the run's model."""
    WRONG_SHAPE = "WrongShape"
    """A tensor has another shape than in the run's model."""
    WRONG_TYPE = "WrongType"
    """A tensor has another element type than in the run's model."""
    TENSOR_ORDER = "TensorOrder"
    """The tensors are not in the order of the layout."""
    WRONG_SIZE = "WrongSize"
    """The announced size differs from the size of the model."""
    MALFORMED_DIGEST = "MalformedDigest"
    """The announced digest is invalid."""
    WEIGHT_OUT_OF_BOUNDS = "WeightOutOfBounds"
    """The number of samples is below 1 or above the bound, which for updates is `spec.server.maxSamplesPerClient`."""
    TOO_MANY_METRICS = "TooManyMetrics"
    """A task reports more than 64 metrics."""
    UNKNOWN_TASK = "UnknownTask"
    """The task is not in the work order, or is not a training task."""
    METRIC_NAME = "MetricName"
    """A metric name is empty, longer than 128 bytes in UTF-8, or not printable."""
    METRIC_NOT_FINITE = "MetricNotFinite"
    """A metric is NaN or infinite."""

    # What arrives (content.py, spool.py).
    OUT_OF_PLACE = "OutOfPlace"
    """The bytes do not follow the bytes received so far."""
    TOO_LONG = "TooLong"
    """The update has more bytes than announced."""
    TOO_SHORT = "TooShort"
    """The update has fewer bytes than announced."""
    NOT_A_NUMBER = "NotANumber"
    """A value is not a number."""
    INFINITE = "Infinite"
    """A value is infinite."""
    WRONG_DIGEST = "WrongDigest"
    """The digest of the bytes differs from the announced digest."""

    @property
    def counted(self) -> bool:
        """Return whether the same update is already counted, so that the sender is done."""
        return self is UpdateRefusalReason.REPEATED

    @property
    def resend(self) -> bool:
        """Return whether the same update may count when it is sent again, from the start or from the spool's offset."""
        return self in _RESEND


_RESEND: Final = frozenset(
    {UpdateRefusalReason.OUT_OF_PLACE, UpdateRefusalReason.TOO_SHORT, UpdateRefusalReason.WRONG_DIGEST}
)


@dataclass(frozen=True, slots=True)
class UpdateRefusal:
    """One refusal; the message names the rejected field and its limit, and never has a value of a tensor."""

    reason: UpdateRefusalReason
    message: str


def short(text: str) -> str:
    """Escape and shorten untrusted text for a log line or an error."""
    quoted = repr(text)
    return quoted if len(quoted) <= 120 else f"{quoted[:117]}..."
