"""Decoding of kubectl's output: chunked watches, lists with an invalid object, errors with remedies."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.kube.kinds import FEDERATED_LEARNING
from federation.kube.resource import Json
from kubectl_fl.errors import AccessForbidden, CommandError, KubectlError, ObjectNotFound
from kubectl_fl.resources.kubectl_output import RunEvent, decode_list, error_from_stderr, split_events
from tests.support.builders.run_objects import run_json


def event(kind: str, message: str = "") -> Json:
    return {"type": kind, "object": {**run_json(), "status": {"message": message}}}


WATCHED = [
    event("ADDED"),
    event("MODIFIED", 'a brace }\n and a "quote"'),
    {"type": "ERROR", "object": {"kind": "Status", "code": 410}},
    {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}},
    event("DELETED"),
]


def read(text: str, cuts: list[int]) -> list[RunEvent]:
    places = [0, *sorted(c % (len(text) + 1) for c in cuts), len(text)]
    found, rest = [], ""
    for start, end in pairwise(places):
        some, rest = split_events(rest + text[start:end])
        found += some
    assert rest == ""
    return found


@given(st.lists(st.integers(0), max_size=8), st.sampled_from([None, 4]))
def test_events_decode_the_same_in_any_chunks(cuts: list[int], indent: int | None) -> None:
    text = "".join(json.dumps(document, indent=indent) + "\n" for document in WATCHED)

    found = read(text, cuts)

    assert [one.type for one in found] == ["ADDED", "MODIFIED", "DELETED"]
    assert found[1].object.status.message == 'a brace }\n and a "quote"'


def test_an_undecodable_object_is_skipped_in_a_list() -> None:
    bad = {**run_json("bad"), "status": {"round": "three"}}
    answer = msgspec.json.encode({"items": [bad, run_json("good")]})

    assert [run.metadata.name for run in decode_list(answer, FEDERATED_LEARNING.struct, "runs")] == ["good"]


def test_output_that_is_not_a_list_is_an_error() -> None:
    with pytest.raises(CommandError, match="list of runs can't be read"):
        decode_list(b"<html>", FEDERATED_LEARNING.struct, "runs")


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ('Error from server (NotFound): federatedlearnings "x" not found', ObjectNotFound, 'not found (federated'),
        ('Error from server (Forbidden): User "u" cannot get', AccessForbidden, "ask the cluster administrator"),
        ('error: the server doesn\'t have a resource type "federatedlearnings"', KubectlError, "select the hub"),
        ('error: context "prod" does not exist', KubectlError, "kubectl config get-contexts"),
        ("", KubectlError, "kubectl failed without an error message"),
        ("E1125 21:31:23 memcache.go:265] Unhandled\nThe connection to the server x was refused", KubectlError,
         "the run: The connection to the server x was refused\n  -> check that the cluster is running"),
    ],
    ids=["not found", "forbidden", "no kind", "context", "silent", "noise"],
)  # fmt: skip
def test_an_error_of_kubectl_is_reported_with_its_remedy(said: str, kind: type[Exception], words: str) -> None:
    found = error_from_stderr(said, "the run")

    assert type(found) is kind
    assert words in str(found)


def test_errors_of_kubectl_are_sanitized() -> None:
    assert "\x1b" not in str(error_from_stderr("error: \x1b[2Jgone", "the run"))
