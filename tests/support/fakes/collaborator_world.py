"""A site with a Dataset and Collaborators in memory, and the agent's part that works on them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from federation.api.collaborator import COLLABORATOR_LABEL, Collaborator
from federation.kube.kinds import COLLABORATOR, COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY, COLLABORATOR_POD, DATASET
from federation.kube.resource import Json, Kind, ObjectKey
from spoke_agent.collaborator.reconciler import CollaboratorReconciler, CollaboratorView
from spoke_agent.metrics import AgentMetrics
from tests.support.builders.collaborator_objects import (
    SITE,
    collaborator_json,
    failed_state,
    open_dataset_json,
    reference,
)
from tests.support.fakes.fake_api import FakeApi

START = datetime(2030, 6, 1, tzinfo=UTC)
KEY = ObjectKey("agent", "fl-digits")


class World:
    """A site with a Dataset and an agent whose reflectors are always up to date, unless they are frozen."""

    def __init__(self, **terms: Any) -> None:
        self.time = START
        self.api = FakeApi(now=lambda: self.time)
        self.frozen: dict[str, Any] = {}
        self.api.seed(DATASET, open_dataset_json(**terms))
        self.restart()

    def restart(self) -> None:
        """A new process of the agent, which remembers nothing."""
        self.registry = CollectorRegistry()
        view = CollaboratorView(
            collaborators=lambda: self.every(COLLABORATOR),
            collaborator=lambda key: self.find(COLLABORATOR, key),
            dataset=lambda key: self.find(DATASET, key),
            job=lambda key: self.find(COLLABORATOR_JOB, key),
            network_policy=lambda key: self.find(COLLABORATOR_NETWORK_POLICY, key),
            pods=lambda key: [
                pod for pod in self.every(COLLABORATOR_POD) if pod.metadata.labels.get(COLLABORATOR_LABEL) == key.name
            ],
        )
        self.reconciler = CollaboratorReconciler(
            self.api, view, SITE, now=lambda: self.time, metrics=AgentMetrics(self.registry)
        )

    def every(self, kind: Kind[Any]) -> Iterable[Any]:
        return [msgspec.convert(raw, kind.struct) for raw in self.api.objects(kind)]

    def find(self, kind: Kind[Any], key: ObjectKey) -> Any:
        if kind.plural in self.frozen:
            return self.frozen[kind.plural]
        named = (each for each in self.every(kind) if each.metadata.name == key.name)
        return next(named, None)

    def ask(self, **spec: Any) -> None:
        """The hub's work agent writes the Collaborator, or changes its spec."""
        live = self.raw(COLLABORATOR)
        body = collaborator_json(**spec)
        if live is not None:
            body["metadata"] = live["metadata"] | {"generation": live["metadata"]["generation"] + 1}
            body["status"] = live.get("status", {})
        self.api.seed(COLLABORATOR, body)

    def raw(self, kind: Kind[Any]) -> Json | None:
        return next((raw for raw in self.api.objects(kind) if raw["metadata"]["name"] == KEY.name), None)

    def job_ends(self, kind: str, reason: str = "", *, message: str = "") -> None:
        """The Job controller and the kubelet do their part."""
        job = self.raw(COLLABORATOR_JOB)
        assert job is not None
        condition = {"type": kind, "status": "True", "reason": reason, "message": ""}
        self.api.seed(COLLABORATOR_JOB, {**job, "status": {"failed": 1, "conditions": [condition]}})
        if message:
            self.pod_is(failed_state(message))

    def pod_is(self, state: Any) -> None:
        """The Job's pod, with its container in that state."""
        job = self.raw(COLLABORATOR_JOB)
        assert job is not None
        metadata = {
            "name": "p1",
            "namespace": "agent",
            "labels": job["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [reference("Job", job["metadata"]["uid"])],
        }
        phase = "Running" if "running" in state else "Failed" if "terminated" in state else "Pending"
        status = {"phase": phase, "containerStatuses": [{"name": "collaborator", "state": state}]}
        self.api.seed(COLLABORATOR_POD, {"metadata": metadata, "status": status})

    def job_goes(self) -> None:
        """The garbage collector ends a foreground deletion: no pod is left."""
        self.pod_goes()
        self.api.remove(COLLABORATOR_JOB, KEY)

    def pod_goes(self) -> None:
        """The pod's time of grace is over."""
        for pod in self.api.objects(COLLABORATOR_POD):
            self.api.remove(COLLABORATOR_POD, ObjectKey("agent", pod["metadata"]["name"]))

    @property
    def status(self) -> Any:
        raw = self.raw(COLLABORATOR)
        assert raw is not None
        return msgspec.convert(raw, Collaborator).status

    async def settle(self) -> float | None:
        """Reconciles until nothing is written any more."""
        for _ in range(10):
            before = self.api.version
            again = await self.reconciler.reconcile(KEY)
            if self.api.version == before:
                return again
        raise AssertionError("it never comes to rest")


async def a_pod_without_its_job() -> World:
    """A running collaborator whose Job was deleted without waiting for the pod."""
    world = World()
    world.ask()
    await world.settle()
    world.pod_is({"running": {}})
    await world.settle()
    world.api.remove(COLLABORATOR_JOB, KEY)
    return world
