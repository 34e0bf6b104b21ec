"""What the round engine's refusals look like from outside: for each reason a gRPC status and the peer's remedy."""

from typing import Final

from grpc import StatusCode

from federation.rpc.refusal import Answer, Refused, Remedy
from hub_manager.aggregator.validation.refusal import Reason, Refusal

_NOT_THIS_MODEL: Final = Answer(StatusCode.FAILED_PRECONDITION, Remedy.STOP)
"""The collaborator's program has another model than the run: every round would find it so."""
_NOT_NOW: Final = Answer(StatusCode.FAILED_PRECONDITION, Remedy.NEXT_ORDER)
_NOT_THIS_UPDATE: Final = Answer(StatusCode.INVALID_ARGUMENT, Remedy.NEXT_ORDER)
"""The same bytes would be refused again; the next round's may do."""
_SEND_AGAIN: Final = Answer(StatusCode.OUT_OF_RANGE, Remedy.RESEND)
_NOT_ITS_RUN: Final = Answer(StatusCode.PERMISSION_DENIED, Remedy.STOP)

ANSWERS: Final[dict[Reason, Answer]] = {
    Reason.NO_TENSORS: _NOT_THIS_MODEL,
    Reason.TOO_MANY_TENSORS: _NOT_THIS_MODEL,
    Reason.TENSOR_NAME: _NOT_THIS_MODEL,
    Reason.DUPLICATE_TENSOR: _NOT_THIS_MODEL,
    Reason.TENSOR_TYPE: _NOT_THIS_MODEL,
    Reason.TENSOR_SHAPE: _NOT_THIS_MODEL,
    Reason.MODEL_TOO_LARGE: _NOT_THIS_MODEL,
    Reason.MISSING_TENSOR: _NOT_THIS_MODEL,
    Reason.EXTRA_TENSOR: _NOT_THIS_MODEL,
    Reason.WRONG_SHAPE: _NOT_THIS_MODEL,
    Reason.WRONG_TYPE: _NOT_THIS_MODEL,
    Reason.TENSOR_ORDER: _NOT_THIS_MODEL,
    Reason.NOT_IN_COHORT: _NOT_ITS_RUN,
    Reason.REMOVED: _NOT_ITS_RUN,
    Reason.NOT_EXPECTED: _NOT_NOW,
    Reason.OTHER_ROUND: _NOT_NOW,
    Reason.REPEATED: Answer(StatusCode.ALREADY_EXISTS, Remedy.NEXT_ORDER),
    Reason.REPLACED: Answer(StatusCode.ABORTED, Remedy.NEXT_ORDER),
    Reason.ROUND_CLOSED: _NOT_NOW,
    Reason.RUN_OVER: _NOT_NOW,
    Reason.NOT_JOINED: Answer(StatusCode.FAILED_PRECONDITION, Remedy.RETRY),
    Reason.WRONG_SIZE: _NOT_THIS_UPDATE,
    Reason.MALFORMED_DIGEST: _NOT_THIS_UPDATE,
    Reason.WEIGHT_OUT_OF_BOUNDS: _NOT_THIS_UPDATE,
    Reason.TOO_MANY_METRICS: _NOT_THIS_UPDATE,
    Reason.UNKNOWN_TASK: _NOT_THIS_UPDATE,
    Reason.METRIC_NAME: _NOT_THIS_UPDATE,
    Reason.METRIC_NOT_FINITE: _NOT_THIS_UPDATE,
    Reason.NOT_A_NUMBER: _NOT_THIS_UPDATE,
    Reason.INFINITE: _NOT_THIS_UPDATE,
    Reason.TOO_LONG: _NOT_THIS_UPDATE,
    Reason.OUT_OF_PLACE: _SEND_AGAIN,
    Reason.TOO_SHORT: _SEND_AGAIN,
    Reason.WRONG_DIGEST: Answer(StatusCode.DATA_LOSS, Remedy.RESEND),
}


def answer(refusal: Refusal) -> Refused:
    """The engine's refusal as a peer gets it."""
    found = ANSWERS[refusal.reason]
    return Refused(refusal.reason.value, found.remedy, refusal.message, found.status)
