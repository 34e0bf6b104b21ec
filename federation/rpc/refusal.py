"""Encode refused calls, and map each reason to its gRPC status and remedy.

The reasons here concern the caller and the call. The round engine has its own reasons for models and updates, sent in
the same form (`hub_manager.aggregator.exchange.status_codes`). A status without a `Refusal` in its trailing metadata
comes from the transport.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from google.protobuf.message import DecodeError
from grpc import StatusCode

from federation.rpc.gen import exchange_pb2

REFUSAL_METADATA: Final = "federation-refusal-bin"
"""Key of the trailing metadata; gRPC requires the suffix `-bin` for bytes."""

LONGEST_MESSAGE: Final = 500
"""Maximum characters of a message: trailing metadata is limited to 8 KiB by default (gRPC core, `max_metadata`)."""


class Remedy(Enum):
    """Action of the caller after a refusal."""

    STOP = exchange_pb2.REMEDY_STOP
    """A retry would not help: the caller exits and reports the reason."""
    NEXT_ORDER = exchange_pb2.REMEDY_NEXT_ORDER
    """The current work is void: the caller waits for the next order."""
    RESEND = exchange_pb2.REMEDY_RESEND
    """The caller queries the offset and resends the data from there."""
    RETRY = exchange_pb2.REMEDY_RETRY
    """The caller waits, joins again and continues its work."""


@dataclass(frozen=True, slots=True)
class RefusalResponse:
    """Status and remedy that the caller gets for a reason."""

    status: StatusCode
    remedy: Remedy


class CallReason(Enum):
    """Reason to reject a call regardless of its content."""

    NOT_A_COLLABORATOR = "NotACollaborator"
    """The certificate is not a collaborator's (`service.authenticate`)."""
    NAME_DIFFERS = "NameDiffers"
    """The message names another cluster than the certificate (`service.check_caller`)."""
    NOT_IN_COHORT = "NotInCohort"
    """The certificate's cluster is not a member of the run, or has left it (`service.authenticate`)."""
    CERTIFICATE_EXPIRED = "CertificateExpired"
    """The certificate has expired since the connection was opened (`calls.Calls`)."""
    OTHER_RUN = "OtherRun"
    """The message is about another run (`service.check_caller`)."""
    MALFORMED = "Malformed"
    """The message can't be decoded, or a required field is missing (`wire`)."""
    TOO_MANY_STREAMS = "TooManyStreams"
    """The peer has too many open calls of this kind (`limits.Streams`)."""
    TOO_MANY_CALLS = "TooManyCalls"
    """The peer exceeds the rate limit of calls (`limits.Bucket`)."""
    TOO_MANY_BYTES = "TooManyBytes"
    """The peer has sent more data for this round than resends can explain (`limits.Allowance`)."""
    STALLED = "Stalled"
    """The peer sent or read no data for too long (`service`)."""
    DEADLINE = "Deadline"
    """The whole call exceeded the time limit for its method and size (`calls.Calls`)."""
    SUPERSEDED = "Superseded"
    """A newer stream of the same peer replaced this one (`calls.Calls`)."""
    NOT_JOINED = "NotJoined"
    """The peer has not joined since the aggregator started (`service`)."""
    UNKNOWN_MODEL = "UnknownModel"
    """No model has that digest, or the offset is beyond its end (`downloads`)."""
    NOT_READY = "NotReady"
    """The aggregator is starting or stopping, or can't write (`service`)."""


CALL_RESPONSES: Final[dict[CallReason, RefusalResponse]] = {
    CallReason.NOT_A_COLLABORATOR: RefusalResponse(StatusCode.PERMISSION_DENIED, Remedy.STOP),
    CallReason.NAME_DIFFERS: RefusalResponse(StatusCode.PERMISSION_DENIED, Remedy.STOP),
    CallReason.NOT_IN_COHORT: RefusalResponse(StatusCode.PERMISSION_DENIED, Remedy.STOP),
    # The mounted Secret has a new certificate before the old one expires; a client reads it when it reconnects.
    CallReason.CERTIFICATE_EXPIRED: RefusalResponse(StatusCode.UNAUTHENTICATED, Remedy.RETRY),
    CallReason.OTHER_RUN: RefusalResponse(StatusCode.FAILED_PRECONDITION, Remedy.STOP),
    CallReason.MALFORMED: RefusalResponse(StatusCode.INVALID_ARGUMENT, Remedy.STOP),
    CallReason.TOO_MANY_STREAMS: RefusalResponse(StatusCode.RESOURCE_EXHAUSTED, Remedy.RETRY),
    CallReason.TOO_MANY_CALLS: RefusalResponse(StatusCode.RESOURCE_EXHAUSTED, Remedy.RETRY),
    CallReason.TOO_MANY_BYTES: RefusalResponse(StatusCode.RESOURCE_EXHAUSTED, Remedy.NEXT_ORDER),
    CallReason.STALLED: RefusalResponse(StatusCode.DEADLINE_EXCEEDED, Remedy.RETRY),
    CallReason.DEADLINE: RefusalResponse(StatusCode.DEADLINE_EXCEEDED, Remedy.RETRY),
    # Two processes with one name would replace each other's stream without end, so the older one stops.
    CallReason.SUPERSEDED: RefusalResponse(StatusCode.ABORTED, Remedy.STOP),
    CallReason.NOT_JOINED: RefusalResponse(StatusCode.FAILED_PRECONDITION, Remedy.RETRY),
    CallReason.UNKNOWN_MODEL: RefusalResponse(StatusCode.NOT_FOUND, Remedy.NEXT_ORDER),
    CallReason.NOT_READY: RefusalResponse(StatusCode.UNAVAILABLE, Remedy.RETRY),
}


@dataclass(eq=False)  # not frozen: Python itself writes an exception's traceback
class Refused(Exception):
    """The aggregator rejected a call. Its service raises this to end a call; the client raises the received one."""

    reason: str
    remedy: Remedy
    message: str
    status: StatusCode

    def __str__(self) -> str:
        """Return the text for logs and the termination message."""
        return f"{self.reason}: {self.message}"


def refused(reason: CallReason, message: str) -> Refused:
    """Create the refusal of a call."""
    response = CALL_RESPONSES[reason]
    return Refused(reason.value, response.remedy, message, response.status)


def to_metadata(refusal: Refused) -> tuple[tuple[str, bytes], ...]:
    """Encode a refusal as trailing metadata."""
    text = exchange_pb2.Refusal(
        reason=refusal.reason, remedy=refusal.remedy.value, message=refusal.message[:LONGEST_MESSAGE]
    )
    return ((REFUSAL_METADATA, text.SerializeToString()),)


def from_metadata(status: StatusCode, value: bytes) -> Refused:
    """Decode a refusal from the value of the trailing metadata.

    A remedy of a later version of the aggregator that this version does not support becomes `STOP`.

    Raises:
        ValueError: The value can't be decoded.
    """
    try:
        found = exchange_pb2.Refusal.FromString(value)
    except DecodeError as error:
        raise ValueError("the trailing metadata can't be decoded as a refusal") from error
    known = {remedy.value: remedy for remedy in Remedy}
    return Refused(found.reason, known.get(found.remedy, Remedy.STOP), found.message, status)
