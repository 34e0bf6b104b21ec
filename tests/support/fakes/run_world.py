"""Simulate a hub with runs in memory: the runs' part, and the behavior of OCM, the clusters and Kubernetes.

`settle` lets every actor act in turn until nothing changes. The stores are filled from the server before each pass, so
that a test needs no watches and a crash can follow any write.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from federation.api.collaborator import FEEDBACK
from federation.api.federated_learning import FederatedLearning
from federation.kube.events import Recorder
from federation.kube.kinds import (
    AGGREGATOR_POD,
    CONFIG_MAP,
    EVENT,
    FEDERATED_LEARNING,
    JOB,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANIFEST_WORK,
    PERSISTENT_VOLUME_CLAIM,
    PLACEMENT,
    PLACEMENT_DECISION,
    SERVICE,
)
from federation.kube.reflector import Reflector
from federation.kube.resource import Json, Kind, ObjectKey
from federation.kube.wire import object_from
from hub_manager.federated_learning.dependencies import RunDependencies
from hub_manager.federated_learning.metrics import RunMetrics
from hub_manager.federated_learning.observation.observed import ConfigMapLookup
from hub_manager.federated_learning.observation.observer import Observer, RunReflectors, SharedReflectors, watch_runs
from hub_manager.federated_learning.reconciler import RunReconciler
from hub_manager.federated_learning.resources.certificate import AggregatorAuthority
from hub_manager.federated_learning.resources.names import plan_source_key
from hub_manager.federated_learning.settings import RunImages, RunLimits, RunSettings
from tests.support.builders.authorities import authority
from tests.support.builders.csr import NOW, key_of
from tests.support.builders.run_objects import run_json
from tests.support.fakes.fake_api import FakeApi

KEY = ObjectKey("default", "mnist")
AGGREGATOR_IMAGE = "registry.example.org/federation/aggregator:1.2.3"
ACCEPTED = {"state": "Accepted"}
RUNNING = {"state": "Running"}


def feedback(run_id: str, **said: str | int) -> Json:
    """Return the feedback of a work agent for a Collaborator with this status."""
    values = {"runId": run_id, **said}
    assert values.keys() <= FEEDBACK.keys()
    return {
        "values": [
            {"name": name, "fieldValue": {"type": "String", "string": value}}
            if isinstance(value, str)
            else {"name": name, "fieldValue": {"type": "Integer", "integer": value}}
            for name, value in values.items()
        ]
    }


@dataclass
class RunWorld:
    """The hub, and the actors on it."""

    selected: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"default/mnist": ("c1", "c2")})
    """OCM's decisions, by the Placement's namespace and name."""
    sites: dict[str, Json] = field(default_factory=dict)
    """Status that each cluster's agent sets on its Collaborator; by default Accepted, then Running."""
    silent: set[str] = field(default_factory=set)
    """Clusters that do not report."""
    limits: RunLimits = field(default_factory=RunLimits)
    unseen: set[str] = field(default_factory=set)
    """Kinds that the manager has not observed yet."""
    reads_no_plans: bool = False
    """Whether the manager has not read the ConfigMaps that runs name."""
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.api = FakeApi(now=lambda: self.now)
        issuer = AggregatorAuthority(authority(), "the bundle\n", timedelta(hours=24))
        self.authority: AggregatorAuthority | None = issuer
        self._serial = 0
        self.restart()

    def restart(self) -> None:
        """Start a new manager process, without any state beyond the server's."""
        settings = RunSettings(images=RunImages(aggregator=AGGREGATOR_IMAGE), limits=self.limits)
        world = RunDependencies(lambda: self.now, self._next_serial, lambda: self.authority, _key)
        self._watched: RunReflectors = watch_runs(self.api)
        self._around = SharedReflectors(
            Reflector(self.api, MANAGED_CLUSTER),
            Reflector(self.api, MANAGED_CLUSTER_ADD_ON),
            Reflector(self.api, CONFIG_MAP),
        )
        observer = Observer(self._watched, self._around, world, self._plan_source)
        recorder = Recorder(self.api, "hub", now=lambda: self.now)
        metrics = RunMetrics(CollectorRegistry())
        self.reconciler = RunReconciler(self.api, observer, observer.strays, settings, world, recorder, metrics)

    # What people do.

    def add_cluster(self, name: str, *, claims: Json | None = None, accepted: bool = True, addon: bool = True) -> None:
        status = {"clusterClaims": [{"name": key, "value": value} for key, value in (claims or {}).items()]}
        body = {"metadata": {"name": name}, "spec": {"hubAcceptsClient": accepted}, "status": status}
        self.api.seed(MANAGED_CLUSTER, body)
        if addon:
            metadata = {"name": "federated-learning", "namespace": name}
            self.api.seed(MANAGED_CLUSTER_ADD_ON, {"metadata": metadata, "spec": {}, "status": {"namespace": "agent"}})

    async def submit(self, body: Json | None = None) -> None:
        body = body or run_json()
        key = ObjectKey(body["metadata"]["namespace"], body["metadata"]["name"])
        await self.api.apply(FEDERATED_LEARNING, key, body, field_manager="user")

    async def change(self, key: ObjectKey = KEY, **spec: Any) -> None:
        await self.api.merge_patch(FEDERATED_LEARNING, key, {"spec": spec})

    # What the manager does.

    async def reconcile(self, key: ObjectKey = KEY) -> float | None:
        """Run one pass on fresh stores."""
        self.refresh_stores()
        return await self.reconciler.reconcile(key)

    async def settle(self, *keys: ObjectKey, rounds: int = 25, answering: bool = True) -> None:
        """Let the manager, OCM, the clusters and the garbage collector act until nothing changes."""
        for _ in range(rounds):
            version = self.api.version
            for key in keys or (KEY,):
                await self.reconcile(key)
            self._garbage()
            self.decide()
            self._serve()
            if answering:
                self._answer()
            if self.api.version == version:
                return
        raise AssertionError("the hub does not come to rest")

    async def writes_of(self, key: ObjectKey = KEY) -> int:
        """Return the number of writes of one more pass."""
        before = len(self.api.calls)
        await self.reconcile(key)
        return len(self.api.calls) - before

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    # What others do.

    def set_job(self, condition: str = "", *, key: ObjectKey = KEY, message: str = "", **status: int) -> None:
        body = self.one(JOB, ObjectKey(key.namespace, f"{key.name}-server"))
        conditions = [{"type": condition, "status": "True", "reason": "R", "message": message}] if condition else []
        self.api.seed(JOB, body | {"status": {"conditions": conditions, **status}})

    def set_pod(self, *, init: Json | None = None, scheduled: str = "", phase: str = "Pending") -> None:
        """Set the state of the pod's init container, or why the pod is unschedulable, and the pod's phase."""
        job = self.one(JOB, ObjectKey("default", "mnist-server"))
        metadata = {"name": "mnist-server-x", "namespace": "default"}
        labels = job["spec"]["template"]["metadata"]["labels"]
        conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": scheduled}]
        containers = [{"name": "workspace", "state": init}] if init else []
        status = {
            "phase": phase,
            "conditions": conditions if scheduled else [],
            "initContainerStatuses": containers,
        }
        self.api.seed(AGGREGATOR_POD, {"metadata": metadata | {"labels": labels}, "status": status})

    async def set_aggregator_status(self, key: ObjectKey = KEY, **status: Any) -> None:
        body = {"metadata": {"name": key.name, "namespace": key.namespace}, "status": status}
        await self.api.apply(
            FEDERATED_LEARNING, key, body, field_manager="federated-learning-aggregator", subresource="status"
        )

    def decide(self) -> None:
        """Act as OCM's placement controller."""
        for placement in self.api.objects(PLACEMENT):
            metadata = placement["metadata"]
            names = self.selected.get(f"{metadata['namespace']}/{metadata['name']}", ())
            condition = {"type": "PlacementSatisfied", "status": "True" if names else "False", "reason": "R"}
            self._seed(PLACEMENT, placement | {"status": {"conditions": [condition]}})
            label = {"cluster.open-cluster-management.io/placement": metadata["name"]}
            decision = {"name": f"{metadata['name']}-decision-1", "namespace": metadata["namespace"], "labels": label}
            status = {"decisions": [{"clusterName": name, "reason": ""} for name in names]}
            self._seed(PLACEMENT_DECISION, {"metadata": decision, "status": status})

    def _serve(self) -> None:
        for service in self.api.objects(SERVICE):
            spec = {"clusterIP": "10.0.0.7", **service["spec"]}
            if spec["type"] == "NodePort":
                spec["ports"] = [{"nodePort": 31000, **port} for port in spec["ports"]]
            ingress = [{"ip": "192.0.2.7"}] if spec["type"] == "LoadBalancer" else []
            self._seed(SERVICE, service | {"spec": spec, "status": {"loadBalancer": {"ingress": ingress}}})

    def _answer(self) -> None:
        for work in self.api.objects(MANIFEST_WORK):
            cluster = work["metadata"]["namespace"]
            (collaborator,) = work["spec"]["workload"]["manifests"]
            if cluster in self.silent:
                continue
            usual = RUNNING if collaborator["spec"].get("aggregator") else ACCEPTED
            said = self.sites.get(cluster, usual)
            result = {
                "resourceMeta": {"kind": "Collaborator", "name": collaborator["metadata"]["name"]},
                "statusFeedback": feedback(collaborator["spec"]["run"]["id"], **said),
            }
            self._seed(MANIFEST_WORK, work | {"status": {"resourceStatus": {"manifests": [result]}}})

    def _seed(self, kind: Kind[Any], body: Json) -> None:
        """Store the object if that changes it."""
        live = next((o for o in self.api.objects(kind) if _place(o) == _place(body)), None)
        if live is None or any(live.get(part) != body.get(part) for part in ("spec", "status")):
            self.api.seed(kind, body)

    def _garbage(self) -> None:
        if any("deletionTimestamp" in o["metadata"] for o in self.api.objects(JOB)):
            self.api.collect_garbage()

    # What a test looks at.

    def run(self, key: ObjectKey = KEY) -> FederatedLearning:
        return object_from(FEDERATED_LEARNING, _encoded(self.one(FEDERATED_LEARNING, key)))

    def condition(self, kind: str, key: ObjectKey = KEY) -> tuple[str, str]:
        found = next(c for c in self.run(key).status.conditions if c.type == kind)
        return found.status, found.reason

    def one(self, kind: Kind[Any], key: ObjectKey) -> Json:
        return next(o for o in self.api.objects(kind) if _place(o) == (key.namespace, key.name))

    def works(self) -> list[tuple[str, str]]:
        return [(w["metadata"]["namespace"], w["metadata"]["name"]) for w in self.api.objects(MANIFEST_WORK)]

    def collaborators(self) -> dict[str, Json]:
        return {
            w["metadata"]["namespace"]: w["spec"]["workload"]["manifests"][0]["spec"]
            for w in self.api.objects(MANIFEST_WORK)
        }

    def said(self) -> list[tuple[str, str]]:
        return [(e["type"], e["reason"]) for e in self.api.objects(EVENT)]

    def everything(self) -> dict[str, list[Json]]:
        """Return all objects of the manager, without the fields that differ between two histories."""
        return {
            reflector.kind.kind: [_timeless(o) for o in self.api.objects(reflector.kind)]
            for reflector in self._watched.parts()
        }

    def refresh_stores(self) -> None:
        """Fill the stores from the server."""
        around = (self._around.clusters, self._around.addons, self._around.bundles)
        reflectors: Iterable[Reflector[Any]] = (*self._watched.parts(), *around)
        for reflector in reflectors:
            present = [object_from(reflector.kind, _encoded(o)) for o in self.api.objects(reflector.kind)]
            for key in reflector.store.sorted_keys():
                reflector.store.remove(key)
            for resource in () if reflector.kind.kind in self.unseen else present:
                reflector.store.put(resource)

    def _plan_source(self, run: FederatedLearning) -> ConfigMapLookup | None:
        key = plan_source_key(run)
        if key is None or self.reads_no_plans:
            return None
        found = next((o for o in self.api.objects(CONFIG_MAP) if _place(o) == (key.namespace, key.name)), None)
        return ConfigMapLookup(None if found is None else object_from(CONFIG_MAP, _encoded(found)))

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial


def clusters(world: RunWorld, *names: str) -> RunWorld:
    """Add these clusters to the world, accepted and with the add-on."""
    for name in names:
        world.add_cluster(name)
    return world


async def started(body: Json | None = None, *names: str, **fields: Any) -> RunWorld:
    """Return a world whose run has its cohort and a ready aggregator."""
    world = clusters(RunWorld(**fields), *(names or ("c1", "c2")))
    await world.submit(body)
    await world.settle()
    world.set_job(ready=1, active=1)
    await world.settle()
    return world


def present(world: RunWorld) -> dict[str, list[str]]:
    """Return the names of the aggregator's objects, by kind."""
    kinds = (JOB, SERVICE, PERSISTENT_VOLUME_CLAIM, PLACEMENT, CONFIG_MAP)
    return {kind.kind: [o["metadata"]["name"] for o in world.api.objects(kind)] for kind in kinds}


def _key() -> ec.EllipticCurvePrivateKey:
    key = key_of("authority p256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _place(body: Json) -> tuple[str, str]:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]


def _encoded(body: Json) -> bytes:
    return msgspec.json.encode(body)


def _timeless(body: Json) -> Json:
    lasting = {"name", "namespace", "labels", "finalizers"}
    kept = {name: value for name, value in body["metadata"].items() if name in lasting}
    kept["annotations"] = sorted(body["metadata"].get("annotations", {}))
    return {**body, "metadata": kept}
