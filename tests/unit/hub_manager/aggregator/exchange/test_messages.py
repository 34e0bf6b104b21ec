"""The words of a refusal on both sides, and the generated code under the protobuf that the hub has."""

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


def test_every_reason_has_its_answer() -> None:
    assert set(CALL_RESPONSES) == set(CallReason)
    assert set(ENGINE_ANSWERS) == set(UpdateRefusalReason)


def test_the_remedy_of_an_engines_refusal_is_what_the_engine_says_of_it() -> None:
    resent = {reason for reason in UpdateRefusalReason if ENGINE_ANSWERS[reason].remedy is Remedy.RESEND}

    assert resent == {reason for reason in UpdateRefusalReason if reason.resend}


def test_reasons_of_the_exchange_and_the_engine_that_share_a_name_share_their_answer() -> None:
    for reason in CallReason:
        same = [other for other in UpdateRefusalReason if other.value == reason.value]
        assert all(ENGINE_ANSWERS[other] == CALL_RESPONSES[reason] for other in same), reason


@pytest.mark.parametrize("reason", CallReason)
def test_a_refusal_arrives_as_it_was_sent(reason: CallReason) -> None:
    sent = refused(reason, "the message, with ü")

    arrived = from_metadata(sent.status, to_metadata(sent)[0][1])

    assert (arrived.reason, arrived.remedy, arrived.message) == (reason.value, sent.remedy, "the message, with ü")
    assert str(arrived) == f"{reason.value}: the message, with ü"


def test_a_remedy_that_is_not_known_is_to_stop() -> None:
    later = pb.Refusal(reason="FromLater", message="?")
    later.remedy = 77  # type: ignore[assignment]

    assert from_metadata(StatusCode.ABORTED, later.SerializeToString()).remedy is Remedy.STOP


def test_metadata_that_are_no_refusal_are_told_apart() -> None:
    with pytest.raises(ValueError, match="decoded as a refusal"):
        from_metadata(StatusCode.ABORTED, b"\xff\xff")


def test_a_long_message_is_cut_to_what_metadata_hold() -> None:
    long = Refused("Malformed", Remedy.STOP, "ü" * 10_000, StatusCode.INVALID_ARGUMENT)

    assert len(to_metadata(long)[0][1]) < 2000


def test_the_engines_refusal_keeps_its_name_and_words() -> None:
    found = answer(UpdateRefusal(UpdateRefusalReason.NOT_A_NUMBER, "tensor 'w' has a value that is not a number"))

    assert (found.reason, found.status, found.remedy) == ("NotANumber", StatusCode.INVALID_ARGUMENT, Remedy.NEXT_ORDER)


def test_the_stubs_are_old_enough_for_the_oldest_protobuf_and_grpc_that_have_to_run_them() -> None:
    messages = (STUBS / "exchange_pb2.py").read_text()
    calls = (STUBS / "exchange_pb2_grpc.py").read_text()

    protobuf = re.search(r"Protobuf Python Version: (\d+)\.", messages)
    grpc = re.search(r"GRPC_GENERATED_VERSION = '1\.(\d+)\.", calls)

    assert protobuf is not None
    assert int(protobuf[1]) == 5, "OpenFL's protobuf is below 6, and the hub's runs code of the major version before"
    assert grpc is not None
    assert int(grpc[1]) <= 65, "OpenFL's grpcio is below 1.66"


def test_the_stubs_warn_of_nothing_and_carry_a_message_to_bytes_and_back() -> None:
    program = (
        "import federation.rpc.gen.exchange_pb2_grpc, federation.rpc.gen.exchange_pb2 as pb;"
        "message = pb.JoinRequest(caller=pb.Caller(run='r', cluster='c1'));"
        "assert pb.JoinRequest.FromString(message.SerializeToString()) == message"
    )

    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
