"""Refusals on both sides of the wire, and the generated code with the hub's protobuf version."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from grpc import StatusCode

from federation.rpc.gen import exchange_pb2 as pb
from federation.rpc.refusal import CALL_RESPONSES, CallReason, Refused, Remedy, from_metadata, refused, to_metadata
from hub_manager.aggregator.exchange.status_codes import ANSWERS as ENGINE_ANSWERS
from hub_manager.aggregator.exchange.status_codes import answer
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason

STUBS = Path(pb.__file__).parent


def test_every_reason_has_a_status_and_remedy() -> None:
    assert set(CALL_RESPONSES) == set(CallReason)
    assert set(ENGINE_ANSWERS) == set(UpdateRefusalReason)


def test_remedy_matches_the_refusal_of_the_engine() -> None:
    resent = {reason for reason in UpdateRefusalReason if ENGINE_ANSWERS[reason].remedy is Remedy.RESEND}

    assert resent == {reason for reason in UpdateRefusalReason if reason.resend}


def test_reasons_with_the_same_name_have_the_same_answer() -> None:
    for reason in CallReason:
        same = [other for other in UpdateRefusalReason if other.value == reason.value]
        assert all(ENGINE_ANSWERS[other] == CALL_RESPONSES[reason] for other in same), reason


@pytest.mark.parametrize("reason", CallReason)
def test_refusal_survives_the_metadata(reason: CallReason) -> None:
    sent = refused(reason, "the message, with ü")

    arrived = from_metadata(sent.status, to_metadata(sent)[0][1])

    assert (arrived.reason, arrived.remedy, arrived.message) == (reason.value, sent.remedy, "the message, with ü")
    assert str(arrived) == f"{reason.value}: the message, with ü"


def test_unknown_remedy_means_stop() -> None:
    later = pb.Refusal(reason="FromLater", message="?")
    later.remedy = 77  # type: ignore[assignment]

    assert from_metadata(StatusCode.ABORTED, later.SerializeToString()).remedy is Remedy.STOP


def test_metadata_without_a_refusal_are_recognized() -> None:
    with pytest.raises(ValueError, match="decoded as a refusal"):
        from_metadata(StatusCode.ABORTED, b"\xff\xff")


def test_long_message_is_truncated_to_the_metadata_limit() -> None:
    long = Refused("Malformed", Remedy.STOP, "ü" * 10_000, StatusCode.INVALID_ARGUMENT)

    assert len(to_metadata(long)[0][1]) < 2000


def test_refusal_of_the_engine_keeps_its_reason_and_message() -> None:
    found = answer(UpdateRefusal(UpdateRefusalReason.NOT_A_NUMBER, "tensor 'w' has a value that is not a number"))

    assert (found.reason, found.status, found.remedy) == ("NotANumber", StatusCode.INVALID_ARGUMENT, Remedy.NEXT_ORDER)


def test_stubs_work_with_the_oldest_supported_protobuf_and_grpc() -> None:
    messages = (STUBS / "exchange_pb2.py").read_text()
    calls = (STUBS / "exchange_pb2_grpc.py").read_text()

    protobuf = re.search(r"Protobuf Python Version: (\d+)\.", messages)
    grpc = re.search(r"GRPC_GENERATED_VERSION = '1\.(\d+)\.", calls)

    assert protobuf is not None
    assert int(protobuf[1]) == 5, "OpenFL's protobuf is below 6, and the hub's runs code of the major version before"
    assert grpc is not None
    assert int(grpc[1]) <= 65, "OpenFL's grpcio is below 1.66"


def test_stubs_encode_and_decode_without_warnings() -> None:
    program = (
        "import federation.rpc.gen.exchange_pb2_grpc, federation.rpc.gen.exchange_pb2 as pb;"
        "message = pb.JoinRequest(caller=pb.Caller(run='r', cluster='c1'));"
        "assert pb.JoinRequest.FromString(message.SerializeToString()) == message"
    )

    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
