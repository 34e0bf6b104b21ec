"""Builders of what a site has: a valid Dataset, a Node, a Pod, a ClusterClaim, each varied by what a test is about."""

from typing import Any

import msgspec

from federation.api.dataset import Dataset
from federation.api.kubernetes.capacity import Node, Pod
from federation.api.ocm.claims import ClusterClaim

DIGEST = "sha256:" + "ab12cd34ef56" + "0" * 52
OURS = {"federation-ai.open-cluster-management.io/managed-by": "federated-learning-agent"}


def dataset(name: str = "mnist", *, spec: dict[str, Any] | None = None, **metadata: Any) -> Dataset:
    """A valid Dataset; each key of `spec` replaces that part (`volume`, `attributes`, `policy`)."""
    return msgspec.convert(dataset_json(name, spec=spec, **metadata), Dataset)


def dataset_json(name: str = "mnist", *, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """The same as the API server has it."""
    return {
        "apiVersion": "federation-ai.open-cluster-management.io/v1alpha1",
        "kind": "Dataset",
        "metadata": {"name": name, "namespace": "agent", "creationTimestamp": "2030-01-01T00:00:00Z", **metadata},
        "spec": {
            "volume": {"persistentVolumeClaim": {"claimName": "data"}},
            "attributes": {"rows": 60000},
            "policy": policy(),
            **(spec or {}),
        },
    }


def policy(**fields: Any) -> dict[str, Any]:
    """Terms that are valid but for what `fields` say."""
    return {"runs": [{"namespace": "research-*"}], "images": ["registry.example/fl/"], **fields}


def claim(name: str, value: str = "1", *, ours: bool = True, **metadata: Any) -> ClusterClaim:
    """A ClusterClaim, with our label or without."""
    labels = OURS if ours else {}
    return msgspec.convert(
        {"metadata": {"name": name, "labels": labels, **metadata}, "spec": {"value": value}}, ClusterClaim
    )


def node(
    name: str = "n1",
    *,
    labels: dict[str, str] | None = None,
    ready: bool = True,
    taints: list[dict[str, str]] | None = None,
    unschedulable: bool = False,
    **allocatable: str,
) -> Node:
    """A Node; `_` of a resource's name stands for its `.com/` (`nvidia_gpu` is `nvidia.com/gpu`)."""
    return msgspec.convert(
        {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"unschedulable": unschedulable, "taints": taints or []},
            "status": {
                "allocatable": _resources(allocatable),
                "conditions": [
                    {"type": "MemoryPressure", "status": "False" if ready else "True", "lastTransitionTime": None},
                    {"type": "Ready", "status": "True" if ready else "Unknown", "lastTransitionTime": None},
                ],
            },
        },
        Node,
    )


def pod(name: str = "p", *, on: str = "n1", phase: str = "Running", **requests: str) -> Pod:
    """A Pod of one container that requests this."""
    return pod_of([requests], on=on, phase=phase, name=name)


def pod_of(
    containers: list[dict[str, str]],
    *,
    init: list[tuple[dict[str, str], str]] | None = None,
    whole: dict[str, str] | None = None,
    overhead: dict[str, str] | None = None,
    on: str = "n1",
    phase: str = "Running",
    name: str = "p",
) -> Pod:
    """A Pod; each of `init` is an init container's requests and its restartPolicy, `whole` what the pod requests."""
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "d"},
            "spec": {
                "nodeName": on,
                "containers": [{"resources": {"requests": _resources(each)}} for each in containers],
                "initContainers": [
                    {"resources": {"requests": _resources(each)}, "restartPolicy": restart}
                    for each, restart in init or []
                ],
                "resources": {"requests": _resources(whole or {})},
                "overhead": _resources(overhead or {}),
            },
            "status": {"phase": phase},
        },
        Pod,
    )


def _resources(named: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", ".com/"): quantity for name, quantity in named.items()}
