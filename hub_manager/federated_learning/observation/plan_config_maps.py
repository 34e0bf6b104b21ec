"""Watch the ConfigMaps that runs name as their plans, each by name, while a run refers to it.

A user may name any ConfigMap in the run's namespace, and the hub manager reads no others: a list would include
unrelated data. A change of a ConfigMap, or the discovery that it is missing, requeues the runs that name it.
"""

import asyncio
from collections.abc import Callable

from federation.api.federated_learning import FederatedLearning
from federation.api.kubernetes.core import ConfigMap
from federation.kube.api import Api
from federation.kube.kinds import CONFIG_MAP
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey
from hub_manager.federated_learning.observation.observed import ConfigMapLookup
from hub_manager.federated_learning.resources.names import key_of_run, plan_source_key


class PlanSources:
    """Source of the ConfigMaps that runs name as their plans."""

    def __init__(self, api: Api, runs: Reflector[FederatedLearning]) -> None:
        """Subscribe to the runs, whose reflector must not have started; `run` starts the watches."""
        self._api = api
        self._runs = runs
        self._watched: dict[ObjectKey, Reflector[ConfigMap]] = {}
        self._changed = asyncio.Event()
        self._wake: Callable[[ObjectKey], None] = lambda _run: None
        runs.subscribe(lambda _old, _new: self._changed.set())

    def subscribe(self, wake: Callable[[ObjectKey], None]) -> None:
        """Set the callback for the key of each run whose ConfigMap changed or was found missing."""
        self._wake = wake

    def find(self, run: FederatedLearning) -> ConfigMapLookup | None:
        """Return the ConfigMap that the run names; None if it has not been read, or if the run names none."""
        key = plan_source_key(run)
        watched = None if key is None else self._watched.get(key)
        if key is None or watched is None or not watched.synced:
            return None
        return ConfigMapLookup(watched.store.find(key))

    async def run(self) -> None:
        """Watch the named ConfigMaps until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            watching: dict[ObjectKey, asyncio.Task[None]] = {}
            while True:
                self._changed.clear()
                wanted = {key for run in self._runs.store.values() if (key := _wanted(run)) is not None}
                for key in watching.keys() - wanted:
                    watching.pop(key).cancel()
                    del self._watched[key]
                for key in sorted(wanted - watching.keys()):
                    self._watched[key] = Reflector(self._api, CONFIG_MAP, namespace=key.namespace, name=key.name)
                    watching[key] = tasks.create_task(self._watch(key, self._watched[key]), name=f"plan-{key}")
                await self._changed.wait()

    async def _watch(self, key: ObjectKey, reflector: Reflector[ConfigMap]) -> None:
        reflector.subscribe(lambda _old, _new: self._notify(key))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(reflector.run())
            await reflector.wait_synced()
            self._notify(key)

    def _notify(self, key: ObjectKey) -> None:
        for run in self._runs.store.values():
            if plan_source_key(run) == key:
                self._wake(key_of_run(run))


def _wanted(run: FederatedLearning) -> ObjectKey | None:
    """Return the ConfigMap to watch for a run; None once the run has ended or is being deleted."""
    return None if run.status.completion_time or run.metadata.deleting else plan_source_key(run)
