"""The shell around a run's plan: reads the stores, plans, writes the status, and carries the actions out.

A write that fails for now ends the pass, and the next one plans anew. What the server refuses for good becomes a
condition of the run: it is remembered until a pass in which nothing is refused, so that the status neither flickers nor
keeps the controller busy. Objects in the run's namespace may be somebody else's: one of our names that does not bear
the run's uid is left alone and named.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, assert_never

import structlog

from federation.api.ocm.work import ManifestWork
from federation.kube.api import Api
from federation.kube.conditions import rfc3339
from federation.kube.errors import AlreadyExists, Denied, Invalid, NotFound, Terminal
from federation.kube.events import Recorder
from federation.kube.kinds import (
    CONFIG_MAP,
    FEDERATED_LEARNING,
    JOB,
    MANAGED_CLUSTER_SET_BINDING,
    MANIFEST_WORK,
    PERSISTENT_VOLUME_CLAIM,
    SECRET,
)
from federation.kube.resource import Kind, ObjectKey, key_of
from hub_manager.federated_learning.actions import Action, Apply, Certify, Create, Delete, Patch, Purge
from hub_manager.federated_learning.dependencies import World
from hub_manager.federated_learning.metrics import RunMetrics
from hub_manager.federated_learning.observation.observed import Observed
from hub_manager.federated_learning.planning.reconcile_plan import Plan, plan
from hub_manager.federated_learning.planning.writes import CERTIFIED_ANNOTATION, RENEW_ANNOTATION
from hub_manager.federated_learning.resources.certificate import certified
from hub_manager.federated_learning.resources.names import RUN_UID_LABEL
from hub_manager.federated_learning.settings import RunSettings

FIELD_MANAGER: Final = "federated-learning-hub-manager"
UNLABELLED: Final = (MANAGED_CLUSTER_SET_BINDING, PERSISTENT_VOLUME_CLAIM, MANIFEST_WORK)
"""Kinds of which another's object is no obstacle: the first two are shared, the last has a name of its own."""

_log = structlog.stdlib.get_logger(__name__)


class NameTaken(Terminal):
    """An object of the name is there, and is not this run's."""


class RunReconciler:
    """Keeps every run as its plan wants it."""

    def __init__(
        self,
        api: Api,
        observe: Callable[[ObjectKey], Observed | None],
        strays: Callable[[ObjectKey], Iterable[ManifestWork]],
        settings: RunSettings,
        world: World,
        recorder: Recorder,
        metrics: RunMetrics,
    ) -> None:
        self._api = api
        self._observe = observe
        self._strays = strays
        self._settings = settings
        self._world = world
        self._recorder = recorder
        self._metrics = metrics
        self._refused: dict[ObjectKey, tuple[str, ...]] = {}

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Does what there is to do for one run; returns in how many seconds to look again.

        Raises:
            KubeError: A write failed for now; those after it were not tried.
        """
        await self._remove_strays(key)
        observed = self._observe(key)
        if observed is None:
            self._refused.pop(key, None)
            self._metrics.forget(key)
            return None
        observed = replace(observed, refusals=self._refused.get(key, ()))
        planned = plan(observed, self._settings)
        await self._write_status(observed, planned)
        refused = await self._carry_out(observed, planned.actions)
        if refused != observed.refusals:
            # The condition that says so has to be written now: no change of an object will wake this key.
            self._refused[key] = refused
            return 0.0
        self._metrics.observe(observed.run)
        return None if planned.due is None else (planned.due - observed.now).total_seconds()

    async def _write_status(self, observed: Observed, planned: Plan) -> None:
        run = observed.run
        if planned.status is not None:
            key = ObjectKey(run.metadata.namespace, run.metadata.name)
            await self._api.apply(
                FEDERATED_LEARNING, key, planned.status, field_manager=FIELD_MANAGER, subresource="status"
            )
            _log.info("run_status_written", run=str(key), phase=planned.status["status"].get("phase"))
        for said in planned.statements if planned.status is not None else ():
            await self._recorder.record(
                FEDERATED_LEARNING, run, severity=said.severity, reason=said.reason, message=said.message
            )

    async def _carry_out(self, observed: Observed, actions: tuple[Action, ...]) -> tuple[str, ...]:
        """Carries the actions out; gives what the server refuses for good, in order."""
        refused: list[str] = []
        for action in actions:
            try:
                await self._do(observed, action)
            except (Invalid, Denied, NameTaken) as error:
                refused.append(f"{action.key}: {error}")
                _log.warning("run_object_refused", object=str(action.key), error=str(error))
                if isinstance(action, Purge):
                    break
        return tuple(refused)

    async def _do(self, observed: Observed, action: Action) -> None:
        match action:
            case Apply():
                await self._apply(observed, action)
            case Create(kind=kind, key=key, body=body):
                try:
                    await self._api.create(kind, body, namespace=key.namespace)
                except AlreadyExists:
                    await self._check_ours(observed, kind, key)
                _done("object_created", observed, kind, key)
            case Patch(kind=kind, key=key, patch=patch, subresource=subresource):
                await self._api.merge_patch(kind, key, patch, subresource=subresource)
                _done("object_patched", observed, kind, key)
            case Delete(kind=kind, key=key, uid=uid):
                await self._api.delete(kind, key, uid=uid, propagation="Foreground" if kind is JOB else "Background")
                _done("object_deleted", observed, kind, key)
            case Purge(kind=kind, uid=uid):
                await self._purge(observed, kind, uid)
            case Certify():
                await self._certify(observed, action)
            case _:
                assert_never(action)

    async def _purge(self, observed: Observed, kind: Kind[Any], uid: str) -> None:
        continue_, more = "", True
        while more:
            page = await self._api.list_page(kind, label_selector=f"{RUN_UID_LABEL}={uid}", continue_=continue_)
            for found in page.items:
                if not found.metadata.deleting:
                    await self._api.delete(kind, key_of(found), uid=found.metadata.uid)
                    _done("object_deleted", observed, kind, key_of(found))
            continue_, more = page.continue_, bool(page.continue_)

    async def _remove_strays(self, key: ObjectKey) -> None:
        """Deletes works of a run that is gone: they have no owner, and may have been seen after its end only."""
        for work in self._strays(key):
            uid = work.metadata.labels.get(RUN_UID_LABEL)
            try:
                if (await self._api.read(FEDERATED_LEARNING, key)).metadata.uid == uid:
                    continue  # it is there after all, and its own pass comes
            except NotFound:
                pass
            await self._api.delete(MANIFEST_WORK, key_of(work), uid=work.metadata.uid)
            _log.info("stray_work_deleted", run=str(key), object=str(key_of(work)))

    async def _apply(self, observed: Observed, action: Apply) -> None:
        kind, key = action.kind, action.key
        if kind not in UNLABELLED:
            await self._check_ours(observed, kind, key)
        try:
            await self._api.apply(kind, key, action.body, field_manager=FIELD_MANAGER)
        except Invalid:
            if action.otherwise is None:
                raise
            await self._api.apply(kind, key, action.otherwise, field_manager=FIELD_MANAGER)
        _done("object_applied", observed, kind, key)

    async def _check_ours(self, observed: Observed, kind: Kind[Any], key: ObjectKey) -> None:
        """Raises NameTaken for an object that is another's: ours are watched by their label, others are not seen."""
        try:
            found = await self._api.read(kind, key)
        except NotFound:
            return
        if found.metadata.labels.get(RUN_UID_LABEL) != observed.run.metadata.uid:
            raise NameTaken(
                f"a {kind.kind} of this name is there and is not this run's: delete it, or rename the FederatedLearning"
            )

    async def _certify(self, observed: Observed, action: Certify) -> None:
        authority = self._world.authority()
        if authority is None:
            return
        now = self._world.now()
        made = certified(
            authority,
            action.names,
            action.metadata,
            key=self._world.new_key(),
            serial=self._world.serial(),
            now=now,
        )
        try:
            await self._api.create(SECRET, made.secret, namespace=action.key.namespace)
        except AlreadyExists:
            # The manager may read no Secret, and so change none: pods that have it mounted keep it meanwhile.
            await self._api.delete(SECRET, action.key)
            await self._api.create(SECRET, made.secret, namespace=action.key.namespace)
        record = {CERTIFIED_ANNOTATION: action.digest, RENEW_ANNOTATION: rfc3339(made.renew_at)}
        await self._api.merge_patch(CONFIG_MAP, action.record, {"metadata": {"annotations": record}})
        _done(
            "aggregator_certified",
            observed,
            SECRET,
            action.key,
            names=list(action.names),
            until=record[RENEW_ANNOTATION],
        )


def _done(event: str, observed: Observed, kind: Kind[Any], key: ObjectKey, **bound: Any) -> None:
    run = observed.run.metadata
    _log.info(event, run=f"{run.namespace}/{run.name}", kind=kind.kind, object=str(key), **bound)
