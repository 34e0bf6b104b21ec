"""How a call is refused: the words on the wire, and the one table from a reason to its gRPC status and remedy.

The reasons here are those of the exchange itself: who calls, and how. What is wrong with a model or an update is the
round engine's to name; its reasons travel in the same form (`hub_manager.aggregator.exchange.status_codes`). A status
without
a `Refusal` in its trailing metadata comes from the transport and says nothing of what was sent.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from google.protobuf.message import DecodeError
from grpc import StatusCode

from federation.rpc.gen import exchange_pb2

REFUSAL_METADATA: Final = "federation-refusal-bin"
"""The key of the trailing metadata; gRPC carries bytes only under a key that ends so."""

LONGEST_MESSAGE: Final = 500
"""Characters of a refusal's message: trailing metadata is bounded to 8 KiB by default (gRPC core, `max_metadata`)."""


class Remedy(Enum):
    """What the caller does about a refusal."""

    STOP = exchange_pb2.REMEDY_STOP
    """Nothing it could do would help: it ends, and shows the reason."""
    NEXT_ORDER = exchange_pb2.REMEDY_NEXT_ORDER
    """What it worked on is void: it waits for the next order."""
    RESEND = exchange_pb2.REMEDY_RESEND
    """It asks for the offset and sends the same again from there."""
    RETRY = exchange_pb2.REMEDY_RETRY
    """It joins again after a while and goes on where it was."""


@dataclass(frozen=True, slots=True)
class RefusalResponse:
    """What a reason looks like from outside."""

    status: StatusCode
    remedy: Remedy


class CallReason(Enum):
    """Why a call was refused whatever it carries."""

    NOT_A_COLLABORATOR = "NotACollaborator"
    """The certificate is not a collaborator's (`service.authenticate`)."""
    NAME_DIFFERS = "NameDiffers"
    """The message names another cluster than the certificate (`service.check_caller`)."""
    NOT_IN_COHORT = "NotInCohort"
    """The certificate's cluster takes no part in the run, or no longer (`service.authenticate`)."""
    CERTIFICATE_EXPIRED = "CertificateExpired"
    """The certificate held when the connection was made, and holds no longer (`calls.Calls`)."""
    OTHER_RUN = "OtherRun"
    """The message is about another run (`service.check_caller`)."""
    MALFORMED = "Malformed"
    """The message does not decode, or lacks what its meaning needs (`wire`)."""
    TOO_MANY_STREAMS = "TooManyStreams"
    """The peer has more calls of this kind open than one may (`limits.Streams`)."""
    TOO_MANY_CALLS = "TooManyCalls"
    """The peer calls more often than one may (`limits.Bucket`)."""
    TOO_MANY_BYTES = "TooManyBytes"
    """The peer has sent so much for this round that no honest resend explains it (`limits.Allowance`)."""
    STALLED = "Stalled"
    """Nothing came from the peer, or it took nothing, for too long (`service`)."""
    DEADLINE = "Deadline"
    """The call as a whole took longer than its method and size allow (`calls.Calls`)."""
    SUPERSEDED = "Superseded"
    """A newer stream of the same peer took this one's place (`calls.Calls`)."""
    NOT_JOINED = "NotJoined"
    """The peer has not joined since the aggregator started (`service`)."""
    UNKNOWN_MODEL = "UnknownModel"
    """There is no model of that digest to download, or it ends before the offset (`downloads`)."""
    NOT_READY = "NotReady"
    """The aggregator starts, stops, or can't write (`service`)."""


CALL_RESPONSES: Final[dict[CallReason, RefusalResponse]] = {
    CallReason.NOT_A_COLLABORATOR: RefusalResponse(StatusCode.PERMISSION_DENIED, Remedy.STOP),
    CallReason.NAME_DIFFERS: RefusalResponse(StatusCode.PERMISSION_DENIED, Remedy.STOP),
    CallReason.NOT_IN_COHORT: RefusalResponse(StatusCode.PERMISSION_DENIED, Remedy.STOP),
    # A new certificate lies in the mounted Secret before the old one ends; a client reads it when it connects anew.
    CallReason.CERTIFICATE_EXPIRED: RefusalResponse(StatusCode.UNAUTHENTICATED, Remedy.RETRY),
    CallReason.OTHER_RUN: RefusalResponse(StatusCode.FAILED_PRECONDITION, Remedy.STOP),
    CallReason.MALFORMED: RefusalResponse(StatusCode.INVALID_ARGUMENT, Remedy.STOP),
    CallReason.TOO_MANY_STREAMS: RefusalResponse(StatusCode.RESOURCE_EXHAUSTED, Remedy.RETRY),
    CallReason.TOO_MANY_CALLS: RefusalResponse(StatusCode.RESOURCE_EXHAUSTED, Remedy.RETRY),
    CallReason.TOO_MANY_BYTES: RefusalResponse(StatusCode.RESOURCE_EXHAUSTED, Remedy.NEXT_ORDER),
    CallReason.STALLED: RefusalResponse(StatusCode.DEADLINE_EXCEEDED, Remedy.RETRY),
    CallReason.DEADLINE: RefusalResponse(StatusCode.DEADLINE_EXCEEDED, Remedy.RETRY),
    # Two processes under one name would take the stream from each other for ever: the older one gives way.
    CallReason.SUPERSEDED: RefusalResponse(StatusCode.ABORTED, Remedy.STOP),
    CallReason.NOT_JOINED: RefusalResponse(StatusCode.FAILED_PRECONDITION, Remedy.RETRY),
    CallReason.UNKNOWN_MODEL: RefusalResponse(StatusCode.NOT_FOUND, Remedy.NEXT_ORDER),
    CallReason.NOT_READY: RefusalResponse(StatusCode.UNAVAILABLE, Remedy.RETRY),
}


@dataclass(eq=False)  # not frozen: Python itself writes an exception's traceback
class Refused(Exception):
    """A call that the aggregator refused, as both sides hold it; an aggregator's service raises it to end a call."""

    reason: str
    remedy: Remedy
    message: str
    status: StatusCode

    def __str__(self) -> str:
        """For logs and the collaborator's exit."""
        return f"{self.reason}: {self.message}"


def refused(reason: CallReason, message: str) -> Refused:
    """The refusal of a call for a reason of the exchange's own."""
    answer = CALL_RESPONSES[reason]
    return Refused(reason.value, answer.remedy, message, answer.status)


def to_metadata(refusal: Refused) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that tell the caller."""
    text = exchange_pb2.Refusal(
        reason=refusal.reason, remedy=refusal.remedy.value, message=refusal.message[:LONGEST_MESSAGE]
    )
    return ((REFUSAL_METADATA, text.SerializeToString()),)


def from_metadata(status: StatusCode, value: bytes) -> Refused:
    """The refusal in the trailing metadata's value.

    An aggregator of a later version may know remedies that we don't: without one that is known, the caller stops.

    Raises:
        ValueError: The value is no refusal.
    """
    try:
        found = exchange_pb2.Refusal.FromString(value)
    except DecodeError as error:
        raise ValueError("the trailing metadata are no refusal") from error
    known = {remedy.value: remedy for remedy in Remedy}
    return Refused(found.reason, known.get(found.remedy, Remedy.STOP), found.message, status)
