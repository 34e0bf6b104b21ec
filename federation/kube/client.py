"""The `Api` protocol over a connection to a real API server: each call as one request, its answer decoded once.

`wire` decodes the bytes and `connection` transports them; the client neither caches nor retries.
"""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

import msgspec
import structlog

from federation.kube.api import Page, WatchEvent
from federation.kube.connection import SERVICE_ACCOUNT, Connection, Kubeconfig, ServiceAccount
from federation.kube.errors import Invalid, NotFound
from federation.kube.resource import Json, Kind, ObjectKey, T
from federation.kube.wire import event_from, object_from, page_from, path_of

log = structlog.get_logger(__name__)

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
WATCH_SECONDS: Final = (240, 480)
"""Requested duration of a watch: a range, so that the watches of many clients do not end together."""
GRACE: Final = 15
"""Seconds by which a server may end a watch late."""


class Client:
    """Calls to one API server under one identity; `field_manager` owns what is written without apply."""

    def __init__(
        self, connection: Connection, *, field_manager: str, draw: Callable[[], float] = random.random
    ) -> None:
        self._connection = connection
        self._field_manager = field_manager
        self._draw = draw

    @classmethod
    def from_kubeconfig(cls, path: Path, *, field_manager: str, deadline: float = 30.0, at_once: int = 32) -> Self:
        """Create a client for the current context of a kubeconfig; it reloads the file and the files that it names.

        Args:
            path: the kubeconfig.
            field_manager: the name under which fields are owned, and the user agent.
            deadline: deadline of each call except watches, in seconds.
            at_once: maximum number of concurrent calls, without watches.
        """
        credentials = Kubeconfig(path)
        connection = Connection(credentials, user_agent=field_manager, deadline=deadline, at_once=at_once)
        return cls(connection, field_manager=field_manager)

    @classmethod
    def in_cluster(
        cls, *, field_manager: str, deadline: float = 30.0, at_once: int = 32, folder: Path = SERVICE_ACCOUNT
    ) -> Self:
        """Create a client with the service account of this process's pod."""
        credentials = ServiceAccount(folder)
        connection = Connection(credentials, user_agent=field_manager, deadline=deadline, at_once=at_once)
        return cls(connection, field_manager=field_manager)

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def read(self, kind: Kind[T], key: ObjectKey) -> T:
        """Read one object. Raises NotFound."""
        return object_from(kind, await self._connection.call("GET", _path(kind, key), query={}))

    async def read_raw(self, kind: Kind[T], key: ObjectKey) -> Json:
        """Read one object as the server sent it. Raises NotFound."""
        return cast("Json", msgspec.json.decode(await self._connection.call("GET", _path(kind, key), query={})))

    async def list_page(
        self,
        kind: Kind[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        name: str = "",
        limit: int = 500,
        continue_: str = "",
    ) -> Page[T]:
        """Read one page, no older than the call: `resourceVersion` and `resourceVersionMatch` are not sent.

        Raises:
            Gone: `continue_` is too old.
        """
        query = _given(
            labelSelector=label_selector, fieldSelector=_named(name), limit=str(limit), **{"continue": continue_}
        )
        page, refused = page_from(kind, await self._connection.call("GET", path_of(kind, namespace), query=query))
        for error in refused:
            log.error("object_unreadable", error=str(error))
        return page

    async def watch(
        self, kind: Kind[T], *, resource_version: str, namespace: str = "", label_selector: str = "", name: str = ""
    ) -> AsyncIterator[WatchEvent[T]]:
        """Iterate over events from that version on, until the server ends the stream after the requested minutes.

        `resourceVersionMatch` is not sent: a watch takes it only together with `sendInitialEvents`.

        Raises:
            Gone: the version is too old, or precedes a restore of the server's storage.
            KubeError: any other refusal, or a broken stream.
        """
        shortest, longest = WATCH_SECONDS
        seconds = shortest + int((longest - shortest) * self._draw())
        query = _given(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=_named(name),
            timeoutSeconds=str(seconds),
        )
        lines = self._connection.lines(path_of(kind, namespace), query=query, silence=seconds + GRACE)
        async with aclosing(lines):
            async for line in lines:
                event, refused = event_from(kind, line)
                if refused is not None:
                    log.error("object_unreadable", error=str(refused))
                yield event

    async def create(self, kind: Kind[T], body: Json, *, namespace: str = "") -> T:
        """Create an object. Raises AlreadyExists."""
        namespace = namespace or (body.get("metadata") or {}).get("namespace", "")
        return await self._write("POST", kind, path_of(kind, namespace), body, JSON, {})

    async def apply(
        self,
        kind: Kind[T],
        key: ObjectKey,
        body: Json,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str = "",
    ) -> T:
        """Apply the body server-side (KEP-555). Raises Conflict when a field has another owner and `force` is false."""
        named = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self._write("PATCH", kind, _path(kind, key, subresource), named, APPLY_PATCH, query)

    async def merge_patch(self, kind: Kind[T], key: ObjectKey, patch: Json, *, subresource: str = "") -> T:
        """Send a JSON merge patch (RFC 7386). Raises Conflict if it contains a stale resourceVersion."""
        return await self._write("PATCH", kind, _path(kind, key, subresource), patch, MERGE_PATCH, {})

    async def replace(self, kind: Kind[T], key: ObjectKey, body: Json, *, subresource: str = "") -> T:
        """Replace (PUT) a whole object that `read_raw` returned. Raises Conflict when stale."""
        return await self._write("PUT", kind, _path(kind, key, subresource), body, JSON, {})

    async def delete(
        self,
        kind: Kind[T],
        key: ObjectKey,
        *,
        uid: str = "",
        propagation: Literal["Background", "Foreground"] = "Background",
    ) -> None:
        """Delete the object, if it exists. Raises Conflict if `uid` is that of another object."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        body = msgspec.json.encode(options)
        try:
            await self._connection.call("DELETE", _path(kind, key), query={}, body=body, content_type=JSON)
        except NotFound:
            return

    async def _write(
        self, method: str, kind: Kind[T], path: str, body: Json, content_type: str, query: dict[str, str]
    ) -> T:
        answer = await self._connection.call(
            method,
            path,
            query={"fieldManager": self._field_manager, **query},
            body=msgspec.json.encode(body),
            content_type=content_type,
        )
        return object_from(kind, answer)


def _path(kind: Kind[Any], key: ObjectKey, subresource: str = "") -> str:
    if not key.name or bool(key.namespace) != kind.namespaced:
        raise Invalid(f"{key!r} is not a key of a {kind.kind}")
    return path_of(kind, key.namespace, key.name, subresource)


def _named(name: str) -> str:
    return f"metadata.name={name}" if name else ""


def _given(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}
