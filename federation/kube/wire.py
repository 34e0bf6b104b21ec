"""Encode and decode the messages of an API server: paths, bodies and errors.

Everything here is pure. An object is decoded once, from bytes into its kind's struct; fields that the struct does not
name, such as `managedFields`, are never built. An object that cannot be decoded must not hide the others of its kind: a
spoke writes some of them, and could blind the hub with one invalid field. Lists skip and report it, watches show it as
deleted, and only reading that object raises an error.
"""

from functools import cache
from typing import Any, cast
from urllib.parse import quote

import msgspec

from federation.api.meta import Struct
from federation.kube.api import Page, WatchEvent
from federation.kube.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    Terminal,
    Unavailable,
)
from federation.kube.resource import Kind, Resource, T


class _ListMeta(Struct, frozen=True, rename={"continue_": "continue", "resource_version": "resourceVersion"}):
    resource_version: str = ""
    continue_: str = ""


class _List(Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: tuple[msgspec.Raw, ...] | None = None


class _Event(Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Cause(Struct, frozen=True):
    reason: str = ""


class _Details(Struct, frozen=True):
    causes: tuple[_Cause, ...] | None = None
    retry_after_seconds: float = 0


class Status(Struct, frozen=True):
    """The `metav1.Status` with which a server explains a refusal."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


@cache
def _decoder(struct: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(struct)


def path_of(kind: Kind[Any], namespace: str, name: str = "", subresource: str = "") -> str:
    """Build the path of a collection, an object or a subresource; quoting keeps names from reaching other paths."""
    parts = ["apis", kind.group, kind.version] if kind.group else ["api", kind.version]
    if kind.namespaced and namespace:
        parts += ["namespaces", namespace]
    parts += [part for part in (kind.plural, name, subresource) if part]
    if any(part in {".", ".."} for part in parts):
        raise Invalid(f"{name!r} cannot be the name of an object")
    return "/" + "/".join(quote(part, safe="") for part in parts)


def object_from(kind: Kind[T], data: bytes | msgspec.Raw) -> T:
    """Decode an object. Raises Invalid, which names the object and the invalid field."""
    try:
        return cast("T", _decoder(kind.struct).decode(data))
    except msgspec.DecodeError as error:
        raise Invalid(f"{kind.kind} {_bare(data).metadata.name!r} cannot be read: {error}") from error


def page_from(kind: Kind[T], data: bytes) -> tuple[Page[T], tuple[Invalid, ...]]:
    """Decode a page of a list, and the errors of skipped objects. Raises Invalid if the body is not a list."""
    try:
        listed = _decoder(_List).decode(data)
    except msgspec.DecodeError as error:
        raise Invalid(f"the list of {kind.plural} cannot be read: {error}") from error
    items: list[T] = []
    refused: list[Invalid] = []
    for raw in listed.items or ():
        try:
            items.append(object_from(kind, raw))
        except Invalid as error:
            refused.append(error)
    return Page(tuple(items), listed.metadata.resource_version, listed.metadata.continue_), tuple(refused)


def event_from(kind: Kind[T], line: bytes) -> tuple[WatchEvent[T], Invalid | None]:
    """Decode a line of a watch; an object that cannot be decoded becomes a deletion with its error.

    Such a deletion contains only the metadata, which is all that a reflector reads.

    Raises:
        Gone: the version is too old to be watched from.
        KubeError: any other error that the server sent in place of an event.
        Unavailable: the line is not an event.
    """
    try:
        event = _decoder(_Event).decode(line)
        if event.type == "ERROR":
            raise error_from(_decoder(Status).decode(event.object).code or 500, bytes(event.object))
        version = _bare(event.object).metadata.resource_version
    except msgspec.DecodeError as error:
        raise Unavailable(f"the watch of {kind.plural} sent an invalid event: {error}") from error
    if event.type == "BOOKMARK":
        return WatchEvent("BOOKMARK", None, version), None
    if event.type not in {"ADDED", "MODIFIED", "DELETED"}:
        raise Unavailable(f"the watch of {kind.plural} sent an event of type {event.type!r}")
    try:
        return WatchEvent(event.type, object_from(kind, event.object), version), None
    except Invalid as error:
        return WatchEvent("DELETED", cast("T", _bare(event.object)), version), error


def error_from(code: int, body: bytes, retry_after: str = "") -> KubeError:
    """Map an answer to an error; of `retry_after`, the header's text, only seconds are supported."""
    try:
        status = _decoder(Status).decode(body)
    except msgspec.DecodeError:
        status = Status(message=body[:200].decode(errors="replace"))
    message = f"{code} {status.reason}: {status.message}".replace(" :", ":")
    details = status.details or _Details()
    causes = {cause.reason for cause in details.causes or ()}
    if code == 410 or "ResourceVersionTooLarge" in causes:  # the latter: the server's storage was restored
        return Gone(message)
    if code in {408, 429} or code >= 500:
        seconds = float(retry_after) if retry_after.isdecimal() else details.retry_after_seconds
        return Unavailable(message, retry_after=seconds or None)
    if code == 409:
        return AlreadyExists(message) if status.reason == "AlreadyExists" else Conflict(message)
    terminal: dict[int, type[Terminal]] = {401: Denied, 403: Denied, 404: NotFound}
    return terminal.get(code, Invalid)(message)


def _bare(data: bytes | msgspec.Raw) -> Resource:
    """Decode only the object's metadata; empty if even that is invalid."""
    try:
        return cast("Resource", _decoder(Resource).decode(data))
    except msgspec.DecodeError:
        return Resource()
