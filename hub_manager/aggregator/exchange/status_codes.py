"""Map each reason of a refusal to a gRPC status and the peer's remedy."""

from typing import Final

from grpc import StatusCode

from federation.rpc.refusal import RefusalResponse, Refused, Remedy
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason

_NOT_THIS_MODEL: Final = RefusalResponse(StatusCode.FAILED_PRECONDITION, Remedy.STOP)
"""The collaborator's model differs from the run's, so every retry would fail."""
_NOT_NOW: Final = RefusalResponse(StatusCode.FAILED_PRECONDITION, Remedy.NEXT_ORDER)
_NOT_THIS_UPDATE: Final = RefusalResponse(StatusCode.INVALID_ARGUMENT, Remedy.NEXT_ORDER)
"""The same bytes would be refused again; the update of the next round may be accepted."""
_SEND_AGAIN: Final = RefusalResponse(StatusCode.OUT_OF_RANGE, Remedy.RESEND)
_NOT_ITS_RUN: Final = RefusalResponse(StatusCode.PERMISSION_DENIED, Remedy.STOP)

ANSWERS: Final[dict[UpdateRefusalReason, RefusalResponse]] = {
    UpdateRefusalReason.NO_TENSORS: _NOT_THIS_MODEL,
    UpdateRefusalReason.TOO_MANY_TENSORS: _NOT_THIS_MODEL,
    UpdateRefusalReason.TENSOR_NAME: _NOT_THIS_MODEL,
    UpdateRefusalReason.DUPLICATE_TENSOR: _NOT_THIS_MODEL,
    UpdateRefusalReason.TENSOR_TYPE: _NOT_THIS_MODEL,
    UpdateRefusalReason.TENSOR_SHAPE: _NOT_THIS_MODEL,
    UpdateRefusalReason.MODEL_TOO_LARGE: _NOT_THIS_MODEL,
    UpdateRefusalReason.MISSING_TENSOR: _NOT_THIS_MODEL,
    UpdateRefusalReason.EXTRA_TENSOR: _NOT_THIS_MODEL,
    UpdateRefusalReason.WRONG_SHAPE: _NOT_THIS_MODEL,
    UpdateRefusalReason.WRONG_TYPE: _NOT_THIS_MODEL,
    UpdateRefusalReason.TENSOR_ORDER: _NOT_THIS_MODEL,
    UpdateRefusalReason.NOT_IN_COHORT: _NOT_ITS_RUN,
    UpdateRefusalReason.REMOVED: _NOT_ITS_RUN,
    UpdateRefusalReason.NOT_EXPECTED: _NOT_NOW,
    UpdateRefusalReason.OTHER_ROUND: _NOT_NOW,
    UpdateRefusalReason.REPEATED: RefusalResponse(StatusCode.ALREADY_EXISTS, Remedy.NEXT_ORDER),
    UpdateRefusalReason.REPLACED: RefusalResponse(StatusCode.ABORTED, Remedy.NEXT_ORDER),
    UpdateRefusalReason.ROUND_CLOSED: _NOT_NOW,
    UpdateRefusalReason.RUN_OVER: _NOT_NOW,
    UpdateRefusalReason.NOT_JOINED: RefusalResponse(StatusCode.FAILED_PRECONDITION, Remedy.RETRY),
    UpdateRefusalReason.WRONG_SIZE: _NOT_THIS_UPDATE,
    UpdateRefusalReason.MALFORMED_DIGEST: _NOT_THIS_UPDATE,
    UpdateRefusalReason.WEIGHT_OUT_OF_BOUNDS: _NOT_THIS_UPDATE,
    UpdateRefusalReason.TOO_MANY_METRICS: _NOT_THIS_UPDATE,
    UpdateRefusalReason.UNKNOWN_TASK: _NOT_THIS_UPDATE,
    UpdateRefusalReason.METRIC_NAME: _NOT_THIS_UPDATE,
    UpdateRefusalReason.METRIC_NOT_FINITE: _NOT_THIS_UPDATE,
    UpdateRefusalReason.NOT_A_NUMBER: _NOT_THIS_UPDATE,
    UpdateRefusalReason.INFINITE: _NOT_THIS_UPDATE,
    UpdateRefusalReason.TOO_LONG: _NOT_THIS_UPDATE,
    UpdateRefusalReason.OUT_OF_PLACE: _SEND_AGAIN,
    UpdateRefusalReason.TOO_SHORT: _SEND_AGAIN,
    UpdateRefusalReason.WRONG_DIGEST: RefusalResponse(StatusCode.DATA_LOSS, Remedy.RESEND),
}


def answer(refusal: UpdateRefusal) -> Refused:
    """Convert the engine's refusal to the one for the peer."""
    reply = ANSWERS[refusal.reason]
    return Refused(refusal.reason.value, reply.remedy, refusal.message, reply.status)
