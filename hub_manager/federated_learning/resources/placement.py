"""Render the run's Placement, and the bindings of its namespace to cluster sets.

The user's placement is kept, and the run's requirements are added to each predicate: predicates are alternatives, and
every one has to select clusters with the data and the resources. Cluster claims only narrow the selection; whether a
cluster may train is decided by its own policy and by its certificate.
Source: OCM API `cluster/v1beta1` (predicates are OR-ed, the selectors within one AND-ed).
"""

import copy
from collections.abc import Iterable

from federation.api.federated_learning import ClientSpec, FederatedLearning
from federation.api.kubernetes.run_objects import PLACEMENT_LABEL, PlacementDecision
from federation.api.ocm.claims import (
    GPU_RESOURCES,
    SCORE_OBJECT,
    at_least_predicate,
    dataset_predicate,
    required_amounts,
)
from federation.kube.kinds import MANAGED_CLUSTER_SET_BINDING, PLACEMENT
from federation.kube.resource import Json
from hub_manager.federated_learning.resources.names import labels, owner, with_digest


def placement(run: FederatedLearning) -> Json:
    """Render the Placement of a valid spec."""
    client = run.spec.client
    spec = copy.deepcopy(client.placement)
    needs = list(_needs(client))
    if needs:
        spec["predicates"] = [_narrowed(predicate, needs) for predicate in spec.get("predicates") or [{}]]
    if scores := _scores(client):
        spec.setdefault("prioritizerPolicy", {"mode": "Additive", "configurations": scores})
    body = {
        "apiVersion": PLACEMENT.api_version,
        "kind": PLACEMENT.kind,
        "metadata": {
            "name": run.metadata.name,
            "namespace": run.metadata.namespace,
            "labels": labels(run),
            "ownerReferences": [owner(run)],
        },
        "spec": spec,
    }
    return with_digest(body)


def cluster_sets(run: FederatedLearning) -> tuple[str, ...]:
    """Return the cluster sets that the placement names."""
    return tuple(dict.fromkeys(run.spec.client.placement.get("clusterSets") or ()))


def binding(run: FederatedLearning, cluster_set: str) -> Json:
    """Render the binding of the run's namespace to a cluster set; it has no owner, because others use it too."""
    return {
        "apiVersion": MANAGED_CLUSTER_SET_BINDING.api_version,
        "kind": MANAGED_CLUSTER_SET_BINDING.kind,
        "metadata": {"name": cluster_set, "namespace": run.metadata.namespace},
        "spec": {"clusterSet": cluster_set},
    }


def selected(run: FederatedLearning, decisions: Iterable[PlacementDecision]) -> tuple[str, ...]:
    """Return the sorted names of the clusters that the run's Placement selects."""
    names = {
        decided.cluster_name
        for decision in decisions
        if decision.metadata.labels.get(PLACEMENT_LABEL) == run.metadata.name
        for decided in decision.status.decisions
    }
    return tuple(sorted(names - {""}))


def _needs(client: ClientSpec) -> Iterable[str]:
    """Yield the CEL expressions that a cluster's claims have to meet."""
    if client.dataset:
        yield dataset_predicate(client.dataset)
    for claim, amount in required_amounts(client.resources.reserved).items():
        yield at_least_predicate(claim, amount)


def _narrowed(predicate: Json, needs: list[str]) -> Json:
    selector = dict(predicate.get("requiredClusterSelector") or {})
    expressions = (selector.get("celSelector") or {}).get("celExpressions") or []
    selector["celSelector"] = {"celExpressions": [*expressions, *needs]}
    return {**predicate, "requiredClusterSelector": selector}


def _scores(client: ClientSpec) -> list[Json]:
    """Prefer clusters with more of the requested resources free, unless the user sets a prioritizer policy."""
    requested = client.resources.reserved
    wanted: list[tuple[str, bool]] = [
        ("freeCPUOnOneNode", "cpu" in requested),
        ("freeMemoryOnOneNode", "memory" in requested),
        ("freeGPUOnOneNode", any(name in requested for name in GPU_RESOURCES)),
    ]
    return [
        {"scoreCoordinate": {"type": "AddOn", "addOn": {"resourceName": SCORE_OBJECT, "scoreName": score}}, "weight": 1}
        for score, is_requested in wanted
        if is_requested
    ]
