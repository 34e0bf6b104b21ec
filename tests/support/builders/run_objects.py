"""Builders of FederatedLearnings and of what a run observes."""

import copy
from typing import Any

import msgspec

from federation.api.federated_learning import FederatedLearning
from federation.kube.resource import Json, ObjectKey

DIGEST = "sha256:" + "0" * 64
CLIENT_IMAGE = f"registry.example.org/mnist@{DIGEST}"
SERVER = ObjectKey("default", "mnist-server")
"""Where that run's aggregator has its objects."""


def run_json(name: str = "mnist", namespace: str = "default", **spec: Any) -> Json:
    """A run as a user would apply it: two sites, three rounds; `spec` overlays it, one level deep."""
    whole: Json = {
        "framework": "openfl",
        "server": {
            "rounds": 3,
            "minAvailableClients": 2,
            "listeners": [{"name": "main", "type": "ClusterIP", "port": 8080}],
            "storage": {"type": "PersistentVolumeClaim", "name": "model", "size": "1Gi"},
        },
        "client": {
            "image": CLIENT_IMAGE,
            "dataset": "digits",
            "placement": {"clusterSets": ["global"]},
        },
    }
    for field, value in copy.deepcopy(spec).items():
        whole[field] = {**whole[field], **value} if isinstance(value, dict) and field in whole else value
    return {
        "apiVersion": "federation-ai.open-cluster-management.io/v1alpha1",
        "kind": "FederatedLearning",
        "metadata": {"name": name, "namespace": namespace},
        "spec": whole,
    }


def run_of(body: Json) -> FederatedLearning:
    """The run as the hub manager reads it."""
    return msgspec.convert(body, FederatedLearning)
