"""Decoding of kubectl's output: JSON into the structs of `federation.api`, and standard error into errors.

Spokes write some objects, so a list skips an item that can't be decoded instead of failing.
"""

import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from federation.api.federated_learning import FederatedLearning
from federation.api.meta import Resource, Struct
from kubectl_fl.errors import AccessForbidden, CommandError, KubectlError, ObjectNotFound
from kubectl_fl.terminal_text import one_line

T = TypeVar("T", bound=Resource)

_MAX_EVENT_CHARACTERS: Final = 64 << 20
"""Maximum length of one event; etcd limits objects to 1.5 MB."""


class _ObjectList(Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


class RunEvent(Struct, frozen=True):
    """An event from a watch on a run."""

    type: str
    object: FederatedLearning


def decode_object(answer: bytes, struct: type[T], subject: str) -> T:
    """Decode one object.

    Raises:
        CommandError: The output is not such an object.
    """
    try:
        return msgspec.json.decode(answer, type=struct)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"the cluster's {subject} can't be read: {one_line(str(error))}") from error


def decode_list(answer: bytes, struct: type[T], subject: str) -> tuple[T, ...]:
    """Decode a list, skipping items that can't be decoded.

    Raises:
        CommandError: The output is not a list.
    """
    try:
        items = msgspec.json.decode(answer, type=_ObjectList).items
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"the cluster's list of {subject} can't be read: {one_line(str(error))}") from error
    return tuple(_decodable(items, struct))


def _decodable(items: Sequence[msgspec.Raw], struct: type[T]) -> Iterator[T]:
    for item in items:
        try:
            yield msgspec.json.decode(item, type=struct)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


def split_events(text: str) -> tuple[list[RunEvent], str]:
    """Decode the complete events at the start of the text and return them with the remaining text.

    kubectl writes one JSON document after the other (`--output-watch-events`), one per line; an indented
    document ends with a line that is a single brace. Bookmarks, error Statuses and events that can't be decoded are
    skipped.

    Raises:
        CommandError: An event exceeds the maximum length.
    """
    found: list[RunEvent] = []
    pending = ""
    for line in text.splitlines(keepends=True):
        pending += line
        whole = line == "}\n" or (pending == line and line.endswith("}\n"))
        if whole:
            found += _decode_event(pending)
            pending = ""
    if len(pending) > _MAX_EVENT_CHARACTERS:
        raise CommandError(f"kubectl's watch can't be read: an event exceeds {_MAX_EVENT_CHARACTERS >> 20} MiB")
    return found, pending


def _decode_event(document: str) -> Iterator[RunEvent]:
    try:
        event = msgspec.json.decode(document, type=RunEvent)
    except msgspec.MsgspecError:
        return
    if event.type in {"ADDED", "MODIFIED", "DELETED"}:
        yield event


_LOG_LINE: Final = re.compile(r"[EWI][0-9]{4} |Warning: ")
"""The start of log lines of kubectl and of server warnings."""
_SERVER_ERROR: Final = re.compile(r"Error from server \((\w+)\): ?(.*)", re.DOTALL)
_REMEDIES: Final = MappingProxyType(
    {
        "the server doesn't have a resource type": (
            "select the hub with --context or --kubeconfig, and check that the add-on is installed on it"
        ),
        "no matches for kind": "select the hub with --context or --kubeconfig",
        "context was not found": "list the contexts: kubectl config get-contexts",
        "does not exist": "list the contexts: kubectl config get-contexts",
        "was refused": "check that the cluster is running and that --context is correct",
        "You must be logged in": "log in to the cluster as for kubectl",
    }
)
"""Remedies by text in errors that carry no reason."""


def error_from_stderr(stderr: str, subject: str) -> KubectlError:
    """Return the error for kubectl's standard error.

    Args:
        stderr: The complete text.
        subject: The object of the call, for the message.
    """
    lines = stderr.strip()[-8000:].splitlines()
    words = one_line(" ".join([line for line in lines if not _LOG_LINE.match(line)] or lines))[-2000:]
    match = _SERVER_ERROR.search(words)
    reason, rest = match.groups() if match else ("", words)
    if reason == "NotFound":
        return ObjectNotFound(f"{subject}: not found ({rest})")
    if reason == "Forbidden":
        return AccessForbidden(f"{subject}: {rest}\n  -> ask the cluster administrator for this permission")
    remedy = next((remedy for mark, remedy in _REMEDIES.items() if mark in words), "")
    return KubectlError(
        f"{subject}: {words or 'kubectl failed without an error message'}" + (f"\n  -> {remedy}" if remedy else "")
    )
