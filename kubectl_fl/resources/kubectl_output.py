"""What kubectl answers, as values: its JSON decoded once into the structs of `federation.api`, and its refusals.

Pure. One object that can't be decoded must not hide the others of its kind, as a spoke writes some of them: a list
leaves it out.
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
"""Characters of one event; etcd takes objects of 1.5 MB at the most."""


class ObjectList(Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()


class RunEvent(Struct, frozen=True):
    """One event of a watch on a run."""

    type: str
    object: FederatedLearning


def decode_object(answer: bytes, struct: type[T], subject: str) -> T:
    """The object of the answer.

    Raises:
        CommandError: It is none.
    """
    try:
        return msgspec.json.decode(answer, type=struct)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CommandError(f"the cluster's {subject} can't be read: {one_line(str(error))}") from error


def decode_list(answer: bytes, struct: type[T], subject: str) -> tuple[T, ...]:
    """The objects of the answer, those left out that can't be decoded.

    Raises:
        CommandError: The answer is no list.
    """
    try:
        items = msgspec.json.decode(answer, type=ObjectList).items
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
    """The whole events at the text's beginning, and what is left of it for the next piece to complete.

    kubectl writes one JSON document after the other (`--output-watch-events`), each in a line; should it indent them
    one day, a document ends with the line that is a brace alone. What is no event of a run (a bookmark, an error's
    Status) or can't be decoded is passed over.

    Raises:
        CommandError: A document has no end.
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
        raise CommandError("kubectl's watch can't be read: an event has no end")
    return found, pending


def _decode_event(document: str) -> Iterator[RunEvent]:
    try:
        event = msgspec.json.decode(document, type=RunEvent)
    except msgspec.MsgspecError:
        return
    if event.type in {"ADDED", "MODIFIED", "DELETED"}:
        yield event


_LOG_LINE: Final = re.compile(r"[EWI][0-9]{4} |Warning: ")
"""How lines of kubectl's own log, and warnings of the server's, begin."""
_SERVER_ERROR: Final = re.compile(r"Error from server \((\w+)\): ?(.*)", re.DOTALL)
_REMEDIES: Final = MappingProxyType(
    {
        "the server doesn't have a resource type": (
            "is this the hub? Pass --context or --kubeconfig for it, and see that the add-on is installed on it"
        ),
        "no matches for kind": "is this the hub? Pass --context or --kubeconfig for it",
        "context was not found": "kubectl config get-contexts lists those that there are",
        "does not exist": "kubectl config get-contexts lists the contexts that there are",
        "was refused": "is the cluster up, and --context the right one?",
        "You must be logged in": "log in as you do for kubectl itself",
    }
)
"""What to do, by words of kubectl's that name no reason."""


def error_from_stderr(said: str, subject: str) -> KubectlError:
    """The error for what kubectl said on its standard error.

    Args:
        said: All of it.
        what: What was to be read or done, for a person.
    """
    lines = said.strip()[-8000:].splitlines()
    words = one_line(" ".join([line for line in lines if not _LOG_LINE.match(line)] or lines))[-2000:]
    match = _SERVER_ERROR.search(words)
    reason, rest = match.groups() if match else ("", words)
    if reason == "NotFound":
        return ObjectNotFound(f"{subject}: not found ({rest})")
    if reason == "Forbidden":
        return AccessForbidden(f"{subject}: {rest}\n  -> ask whoever administers the cluster for the right")
    remedy = next((remedy for mark, remedy in _REMEDIES.items() if mark in words), "")
    return KubectlError(
        f"{subject}: {words or 'kubectl failed without a word'}" + (f"\n  -> {remedy}" if remedy else "")
    )
