"""The calls to an API server that controllers use; `client.Client` makes them, and the tests' fake answers them.

Bodies go in as plain JSON structures; objects come back decoded. Every call ends within its deadline, and raises only
`federation.kube.errors.KubeError`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, Literal, Protocol

from federation.kube.resource import Json, Kind, ObjectKey, T


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: `resource_version` is where a watch can begin; `continue_` is `""` on the last page."""

    items: tuple[T, ...]
    resource_version: str
    continue_: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """One event of a watch; a BOOKMARK carries no object, only the version reached."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: T | None
    resource_version: str


class Api(Protocol):
    """A connection to one API server under one identity."""

    async def read(self, kind: Kind[T], key: ObjectKey) -> T:
        """Read one object. Raises NotFound."""
        ...

    async def read_raw(self, kind: Kind[T], key: ObjectKey) -> Json:
        """Read one object as the server sent it, to write the whole of it back. Raises NotFound."""
        ...

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
        """Read one page of the objects, of all namespaces if `namespace` is empty, of all names if `name` is.

        Raises Gone for a stale `continue_`.
        """
        ...

    def watch(
        self, kind: Kind[T], *, resource_version: str, namespace: str = "", label_selector: str = "", name: str = ""
    ) -> AsyncIterator[WatchEvent[T]]:
        """Iterate over events from that version on, including bookmarks, until the stream ends. Raises Gone."""
        ...

    async def create(self, kind: Kind[T], body: Json, *, namespace: str = "") -> T:
        """Create an object. Raises AlreadyExists."""
        ...

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
        ...

    async def merge_patch(self, kind: Kind[T], key: ObjectKey, patch: Json, *, subresource: str = "") -> T:
        """Send a JSON merge patch (RFC 7386). Raises Conflict if it contains a stale resourceVersion."""
        ...

    async def replace(self, kind: Kind[T], key: ObjectKey, body: Json, *, subresource: str = "") -> T:
        """Replace (PUT) a whole object that `read_raw` returned. Raises Conflict when stale."""
        ...

    async def delete(
        self,
        kind: Kind[T],
        key: ObjectKey,
        *,
        uid: str = "",
        propagation: Literal["Background", "Foreground"] = "Background",
    ) -> None:
        """Delete the object, if it exists. Raises Conflict if `uid` is that of another object."""
        ...
