"""The writes that a planner asks for, as values, and the one executor that performs them.

A planner is pure: it returns a `ReconcilePlan`. Its reconciler performs the actions in their order and decides what a
failed one means for the rest, because that differs: a refused NetworkPolicy must keep a Job from starting, while a
refused Service must not keep the others from being applied.

Guarantees: a deletion names the uid of the object that the planner saw; an action with an `owner` never changes an
object that another owns. Performing an action twice changes nothing the second time.
"""

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, assert_never

import structlog

from federation.kube.api import Api
from federation.kube.errors import AlreadyExists, Invalid, NotFound, Terminal
from federation.kube.events import EventRecord
from federation.kube.resource import Json, Kind, ObjectKey, key_of


@dataclass(frozen=True, slots=True)
class OwnerLabel:
    """The label by which an object is recognized as its controller's."""

    name: str
    value: str

    @property
    def selector(self) -> str:
        """Return the label selector for the objects of this owner."""
        return f"{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of the whole body (KEP-555)."""

    kind: Kind[Any]
    key: ObjectKey
    body: Json
    subresource: str = ""
    fallback: Json | None = None
    """The body to apply if the server finds the first one invalid, for example without a node port that is taken."""
    owner: OwnerLabel | None = None
    """If set, an existing object must bear this label."""


@dataclass(frozen=True, slots=True)
class Create:
    """Creation of an object that must not exist yet."""

    kind: Kind[Any]
    key: ObjectKey
    body: Json
    owner: OwnerLabel | None = None
    """If set, an existing object that bears this label counts as created."""


@dataclass(frozen=True, slots=True)
class Patch:
    """JSON merge patch (RFC 7386); a resourceVersion in it makes it conditional."""

    kind: Kind[Any]
    key: ObjectKey
    patch: Json
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletion of the object with this uid; `""` deletes any object of the name."""

    kind: Kind[Any]
    key: ObjectKey
    uid: str
    propagation: Literal["Background", "Foreground"] = "Background"
    """Foreground removes a Job's pods before the Job."""


@dataclass(frozen=True, slots=True)
class DeleteOwned:
    """Deletion of every object of the kind that bears the label, as the server lists them now."""

    kind: Kind[Any]
    key: ObjectKey
    """The object on whose behalf they are deleted."""
    owner: OwnerLabel


Action = Apply | Create | Patch | Delete | DeleteOwned
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class ReconcilePlan(Generic[A]):
    """The result of one pass of a pure planner.

    `A` is `Action`, or a union of it with the actions that only one controller has.
    """

    actions: tuple[A, ...] = ()
    """Writes, in the order in which to perform them."""
    status: Apply | Patch | None = None
    """The write of the reconciled object's status; None if the status is current."""
    events: tuple[EventRecord, ...] = ()
    """Events to record about the reconciled object once its status is written."""
    requeue_after: float | None = None
    """Seconds until time alone changes the plan; None if only a change of an object does."""


class NotOwned(Terminal):
    """An object of the name exists and does not belong to this owner."""


class ActionExecutor:
    """Performs actions against one API server, as one field manager.

    Args:
        api: The API server.
        field_manager: The name under which fields are owned in server-side apply.
    """

    def __init__(self, api: Api, field_manager: str) -> None:
        self._api = api
        self._field_manager = field_manager

    async def perform(self, action: Action, log: structlog.stdlib.BoundLogger) -> None:
        """Perform one action and log it with what is bound to `log`.

        Raises:
            NotOwned: The object exists and does not bear the label of the action's `owner`.
            AlreadyExists: `Create` without an `owner` found an object of the name.
            KubeError: The API server refused the call, or did not answer.
        """
        match action:
            case Apply():
                await self._apply(action)
                _log_done(log, "status_applied" if action.subresource else "object_applied", action)
            case Create(kind=kind, key=key, body=body, owner=owner):
                await self._create(kind, key, body, owner)
                _log_done(log, "object_created", action)
            case Patch(kind=kind, key=key, patch=patch, subresource=subresource):
                await self._api.merge_patch(kind, key, patch, subresource=subresource)
                _log_done(log, "status_patched" if subresource else "object_patched", action)
            case Delete(kind=kind, key=key, uid=uid, propagation=propagation):
                await self._api.delete(kind, key, uid=uid, propagation=propagation)
                _log_done(log, "object_deleted", action)
            case DeleteOwned():
                await self._delete_owned(action, log)
            case _:
                assert_never(action)

    async def _apply(self, action: Apply) -> None:
        kind, key = action.kind, action.key
        if action.owner is not None:
            await self._check_owner(kind, key, action.owner)
        try:
            await self._api.apply(
                kind, key, action.body, field_manager=self._field_manager, subresource=action.subresource
            )
        except Invalid:
            if action.fallback is None:
                raise
            await self._api.apply(
                kind, key, action.fallback, field_manager=self._field_manager, subresource=action.subresource
            )

    async def _create(self, kind: Kind[Any], key: ObjectKey, body: Json, owner: OwnerLabel | None) -> None:
        try:
            await self._api.create(kind, body, namespace=key.namespace)
        except AlreadyExists:
            if owner is None:
                raise
            await self._check_owner(kind, key, owner)

    async def _delete_owned(self, action: DeleteOwned, log: structlog.stdlib.BoundLogger) -> None:
        continue_, more = "", True
        while more:
            page = await self._api.list_page(action.kind, label_selector=action.owner.selector, continue_=continue_)
            for found in page.items:
                if not found.metadata.deleting:
                    deletion = Delete(action.kind, key_of(found), found.metadata.uid)
                    await self.perform(deletion, log)
            continue_, more = page.continue_, bool(page.continue_)

    async def _check_owner(self, kind: Kind[Any], key: ObjectKey, owner: OwnerLabel) -> None:
        """Raise NotOwned for an object without the label: reflectors that select by it do not show such objects."""
        try:
            found = await self._api.read(kind, key)
        except NotFound:
            return
        if found.metadata.labels.get(owner.name) != owner.value:
            raise NotOwned(f"a {kind.kind} of this name exists and is not labelled {owner.selector}")


def _log_done(log: structlog.stdlib.BoundLogger, event: str, action: Action) -> None:
    log.info(event, kind=action.kind.kind, object=str(action.key))
