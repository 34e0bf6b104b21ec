"""A hub whose run may not start, seen as `kubectl fl doctor` sees it, and the finding of each check."""

from pathlib import Path
from typing import Any

from federation.api.ocm.claims import DatasetName, PublishedAttributes, dataset_claims
from federation.kube.kinds import (
    AGGREGATOR_POD,
    FEDERATED_LEARNING,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANAGED_CLUSTER_SET_BINDING,
    MANIFEST_WORK,
    PERSISTENT_VOLUME_CLAIM,
    PLACEMENT,
    PLACEMENT_DECISION,
)
from federation.kube.resource import Json
from kubectl_fl.commands.doctor import observe
from kubectl_fl.doctor.cluster_checks import cluster_findings
from kubectl_fl.doctor.findings import Finding, RunObservation
from kubectl_fl.doctor.run_checks import run_findings
from tests.support.builders.csr import NOW
from tests.support.fakes.fake_kubectl import FakeKubectl, InProcess
from tests.support.fakes.run_world import RunWorld

KINDS = (
    FEDERATED_LEARNING,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANAGED_CLUSTER_SET_BINDING,
    MANIFEST_WORK,
    PLACEMENT,
    PLACEMENT_DECISION,
    AGGREGATOR_POD,
    PERSISTENT_VOLUME_CLAIM,
)
WELL = ("RegistrationApplied", "ClusterCertificateRotated", "ManifestApplied", "Available")
DIGITS = dataset_claims({DatasetName("digits"): PublishedAttributes(rows=900)})


def conditions(*true: str, **false: str) -> list[Json]:
    """Conditions that hold, and those that don't, each with its message."""
    told = [{"type": kind, "status": "True", "reason": "Fine", "message": ""} for kind in true]
    return told + [{"type": k, "status": "False", "reason": "Wrong", "message": m} for k, m in false.items()]


def member(world: RunWorld, name: str, claims: dict[str, str] | None = None, **spec: Any) -> None:
    """A cluster with which nothing is wrong, or what `spec` and `claims` say."""
    told = [{"name": k, "value": v} for k, v in (DIGITS if claims is None else claims).items()]
    status = {"clusterClaims": told, "conditions": conditions("ManagedClusterConditionAvailable")}
    body = {"metadata": {"name": name}, "spec": {"hubAcceptsClient": True} | spec, "status": status}
    world.api.seed(MANAGED_CLUSTER, body)
    enabled(world, name, conditions(*WELL))


def enabled(world: RunWorld, name: str, told: list[Json]) -> None:
    """The cluster has the add-on, with these conditions."""
    metadata = {"name": "federated-learning", "namespace": name}
    status = {"namespace": "agent", "conditions": told}
    world.api.seed(MANAGED_CLUSTER_ADD_ON, {"metadata": metadata, "spec": {}, "status": status})


def seen(world: RunWorld, folder: Path, *denied: str) -> RunObservation:
    """The world as the doctor reads it with kubectl, without the kinds that are denied."""
    kubectl = FakeKubectl(folder, denied=list(denied))
    for kind in KINDS:
        kubectl.has(kind, *world.api.objects(kind))
    hub = InProcess(fake=kubectl)
    return observe(hub, hub.read(FEDERATED_LEARNING, "mnist"))


async def waiting(body: Json | None = None, **fields: Any) -> RunWorld:
    """A world whose run two clusters, with which nothing is wrong, were asked to take part in."""
    world = RunWorld(**fields)
    for name in ("c1", "c2"):
        member(world, name)
    await world.submit(body)
    await world.settle()
    return world


def _found(findings: tuple[Finding, ...], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


def of_run(what: RunObservation, check: str) -> Finding:
    """Return the findings of the run's checks."""
    return _found(run_findings(what), check)


def of_cluster(what: RunObservation, name: str, check: str) -> Finding:
    """Return the findings of the cluster's checks."""
    return _found(cluster_findings(what, name, NOW), check)


async def applied(world: RunWorld) -> None:
    """Every work agent reports that it has applied its work."""
    for work in world.api.objects(MANIFEST_WORK):
        status = work.get("status", {})
        world.api.seed(MANIFEST_WORK, work | {"status": {**status, "conditions": conditions("Applied")}})
