"""Reconcile runs: read the stores, plan, write the status and perform the actions.

A write that fails temporarily ends the pass, and the next pass plans again. If the server rejects a write permanently,
the error becomes a condition of the run. It is remembered until a pass without a rejection, so that the status does not
flicker and the controller does not spin. An object in the run's namespace that has one of the run's names but not its
uid label is left alone, and the condition names it.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import structlog

from federation.api.ocm.work import ManifestWork
from federation.kube.actions import ActionExecutor, Apply, DeleteOwned, NotOwned, ReconcilePlan
from federation.kube.api import Api
from federation.kube.conditions import rfc3339
from federation.kube.errors import AlreadyExists, Denied, Invalid, NotFound
from federation.kube.events import Recorder
from federation.kube.kinds import (
    CONFIG_MAP,
    FEDERATED_LEARNING,
    MANIFEST_WORK,
    SECRET,
)
from federation.kube.resource import ObjectKey, key_of
from hub_manager.federated_learning.actions import IssueCertificate, RunAction
from hub_manager.federated_learning.dependencies import RunDependencies
from hub_manager.federated_learning.metrics import RunMetrics
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning.reconcile_plan import plan_run
from hub_manager.federated_learning.planning.writes import CERTIFIED_ANNOTATION, RENEW_ANNOTATION
from hub_manager.federated_learning.resources.certificate import issue_certificate
from hub_manager.federated_learning.resources.names import RUN_UID_LABEL
from hub_manager.federated_learning.settings import RunSettings

FIELD_MANAGER: Final = "federated-learning-hub-manager"

_log = structlog.stdlib.get_logger(__name__)


class RunReconciler:
    """Reconciler that plans each run and performs the plan."""

    def __init__(
        self,
        api: Api,
        observe: Callable[[ObjectKey], ObservedRun | None],
        strays: Callable[[ObjectKey], Iterable[ManifestWork]],
        settings: RunSettings,
        dependencies: RunDependencies,
        recorder: Recorder,
        metrics: RunMetrics,
    ) -> None:
        self._api = api
        self._executor = ActionExecutor(api, FIELD_MANAGER)
        self._observe = observe
        self._strays = strays
        self._settings = settings
        self._dependencies = dependencies
        self._recorder = recorder
        self._metrics = metrics
        self._refused: dict[ObjectKey, tuple[str, ...]] = {}

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Reconcile one run; return the seconds until it has to be reconciled again, or None.

        Raises:
            KubeError: A write failed temporarily; later writes were not attempted.
        """
        await self._remove_strays(key)
        observed = self._observe(key)
        if observed is None:
            self._refused.pop(key, None)
            self._metrics.forget(key)
            return None
        observed = replace(observed, refusals=self._refused.get(key, ()))
        result = plan_run(observed, self._settings)
        await self._write_status(observed, result)
        refused = await self._perform(observed, result.actions)
        if refused != observed.refusals:
            # Requeue now to write the condition: no change of an object would requeue this key.
            self._refused[key] = refused
            return 0.0
        self._metrics.observe(observed.run)
        return result.requeue_after

    async def _write_status(self, observed: ObservedRun, result: ReconcilePlan[RunAction]) -> None:
        if result.status is not None:
            phase = result.status.body["status"].get("phase") if isinstance(result.status, Apply) else None
            await self._executor.perform(result.status, _log_of(observed).bind(phase=phase))
        for event in result.events:
            await self._recorder.record(
                FEDERATED_LEARNING, observed.run, severity=event.severity, reason=event.reason, message=event.message
            )

    async def _perform(self, observed: ObservedRun, actions: tuple[RunAction, ...]) -> tuple[str, ...]:
        """Perform the actions in order; return the permanent rejections of the server."""
        refused: list[str] = []
        for action in actions:
            try:
                if isinstance(action, IssueCertificate):
                    await self._issue(observed, action)
                else:
                    await self._executor.perform(action, _log_of(observed))
            except (Invalid, Denied, NotOwned) as error:
                remedy = ": delete it, or rename the FederatedLearning" if isinstance(error, NotOwned) else ""
                refused.append(f"{action.key}: {error}{remedy}")
                _log.warning("run_object_refused", object=str(action.key), error=str(error))
                if isinstance(action, DeleteOwned):
                    break
        return tuple(refused)

    async def _remove_strays(self, key: ObjectKey) -> None:
        """Delete ManifestWorks of a deleted run: they have no owner, and may be observed only after its deletion."""
        for work in self._strays(key):
            uid = work.metadata.labels.get(RUN_UID_LABEL)
            try:
                if (await self._api.read(FEDERATED_LEARNING, key)).metadata.uid == uid:
                    continue  # The run exists; its own pass handles the ManifestWork.
            except NotFound:
                pass
            await self._api.delete(MANIFEST_WORK, key_of(work), uid=work.metadata.uid)
            _log.info("stray_work_deleted", run=str(key), object=str(key_of(work)))

    async def _issue(self, observed: ObservedRun, action: IssueCertificate) -> None:
        authority = self._dependencies.authority()
        if authority is None:
            return
        now = self._dependencies.now()
        issued = issue_certificate(
            authority,
            action.names,
            action.metadata,
            key=self._dependencies.new_key(),
            serial=self._dependencies.serial(),
            now=now,
        )
        try:
            await self._api.create(SECRET, issued.secret, namespace=action.key.namespace)
        except AlreadyExists:
            # The hub manager has no right to read or update Secrets. Running pods keep the mounted files meanwhile.
            await self._api.delete(SECRET, action.key)
            await self._api.create(SECRET, issued.secret, namespace=action.key.namespace)
        record = {CERTIFIED_ANNOTATION: action.digest, RENEW_ANNOTATION: rfc3339(issued.renew_at)}
        await self._api.merge_patch(CONFIG_MAP, action.record, {"metadata": {"annotations": record}})
        _log_of(observed).info(
            "aggregator_certified",
            kind=SECRET.kind,
            object=str(action.key),
            names=list(action.names),
            until=record[RENEW_ANNOTATION],
        )


def _log_of(observed: ObservedRun) -> structlog.stdlib.BoundLogger:
    run = observed.run.metadata
    return _log.bind(run=f"{run.namespace}/{run.name}")
