"""Why something that a collaborator sent does not count: the words that reach it, the audit log and the metrics."""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class UpdateRefusalReason(Enum):
    """One member for each check of `model`, `checks`, `spool` and `round`, beside which it is explained."""

    # The manifest of a model (model.py).
    NO_TENSORS = "NoTensors"
    """The model has no tensors, or none but empty ones; or nobody has said yet which it has."""
    TOO_MANY_TENSORS = "TooManyTensors"
    """More tensors than a model may have, 65,536."""
    TENSOR_NAME = "TensorName"
    """A name that is empty, too long, not printable, or safetensors' own."""
    DUPLICATE_TENSOR = "DuplicateTensor"
    """Two tensors of one name."""
    TENSOR_TYPE = "TensorType"
    """An element type that can't be averaged."""
    TENSOR_SHAPE = "TensorShape"
    """Over 32 dimensions, or a negative one."""
    MODEL_TOO_LARGE = "ModelTooLarge"
    """More bytes than a model may have, 16 GiB."""

    # Who sends, and when (round.py).
    NOT_IN_COHORT = "NotInCohort"
    """The cluster takes no part in the run."""
    REMOVED = "Removed"
    """The hub has taken the cluster out of the run."""
    NOT_EXPECTED = "NotExpected"
    """Nothing is asked of the cluster now."""
    OTHER_ROUND = "OtherRound"
    """An update, or metrics, of another round than the one in work."""
    REPEATED = "Repeated"
    """The very same update counts already."""
    REPLACED = "Replaced"
    """Another update of the same cluster counts already in this round."""
    ROUND_CLOSED = "RoundClosed"
    """The round has closed without it."""
    RUN_OVER = "RunOver"
    """The run has ended."""
    NOT_JOINED = "NotJoined"
    """The cluster has not joined since the aggregator started."""

    # What an update announces (checks.py).
    MISSING_TENSOR = "MissingTensor"
    """A tensor of the run's model is missing."""
    EXTRA_TENSOR = "ExtraTensor"
    """A tensor that the run's model doesn't have."""
    WRONG_SHAPE = "WrongShape"
    """A tensor has another shape than in the run's model."""
    WRONG_TYPE = "WrongType"
    """A tensor has another element type than in the run's model."""
    TENSOR_ORDER = "TensorOrder"
    """The tensors stand in another order than the layout has."""
    WRONG_SIZE = "WrongSize"
    """Other bytes are announced than the model has."""
    MALFORMED_DIGEST = "MalformedDigest"
    """The announced digest is none."""
    WEIGHT_OUT_OF_BOUNDS = "WeightOutOfBounds"
    """The number of samples is below 1 or above the bound, which for updates is `spec.server.maxSamplesPerClient`."""
    TOO_MANY_METRICS = "TooManyMetrics"
    """More than 64 metrics of one task."""
    UNKNOWN_TASK = "UnknownTask"
    """No such task was handed out, or it doesn't train."""
    METRIC_NAME = "MetricName"
    """A metric's name is empty, over 128 bytes in UTF-8, or not printable."""
    METRIC_NOT_FINITE = "MetricNotFinite"
    """A metric is no number, or infinite."""

    # What arrives (checks.py, spool.py).
    OUT_OF_PLACE = "OutOfPlace"
    """Bytes that don't follow on those that are there."""
    TOO_LONG = "TooLong"
    """More bytes than announced."""
    TOO_SHORT = "TooShort"
    """Fewer bytes than announced."""
    NOT_A_NUMBER = "NotANumber"
    """A value is not a number."""
    INFINITE = "Infinite"
    """A value is infinite."""
    WRONG_DIGEST = "WrongDigest"
    """The bytes are not those that the digest names."""

    @property
    def counted(self) -> bool:
        """Whether the very same update counts already, so that an honest sender has nothing left to do."""
        return self is UpdateRefusalReason.REPEATED

    @property
    def resend(self) -> bool:
        """Whether the same update, sent anew from its first byte or from the spool's offset, may yet count."""
        return self in _RESEND


_RESEND: Final = frozenset(
    {UpdateRefusalReason.OUT_OF_PLACE, UpdateRefusalReason.TOO_SHORT, UpdateRefusalReason.WRONG_DIGEST}
)


@dataclass(frozen=True, slots=True)
class UpdateRefusal:
    """One refusal; the message names what is at fault and the bound, shortened, and never holds a tensor's value."""

    reason: UpdateRefusalReason
    message: str


def short(text: str) -> str:
    """A stranger's text, escaped and cut, fit for a log and an error."""
    quoted = repr(text)
    return quoted if len(quoted) <= 120 else f"{quoted[:117]}..."
