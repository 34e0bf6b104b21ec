"""Builders of a run's part at a site: a Collaborator that the builders' Dataset admits, its Job, and the Job's pods."""

import json
from typing import Any

import msgspec

from federation.api.collaborator import COLLABORATOR_LABEL, Collaborator
from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import CollaboratorPod, SiteJob
from spoke_agent.collaborator.planning.job import INPUTS_ANNOTATION, RUN_ID_ANNOTATION, AgentLocation, inputs_digest
from tests.support.builders.site_objects import dataset_json, policy

SITE = AgentLocation(cluster="c1", namespace="agent")
IMAGE = "registry.example/fl/digits:1"
AGGREGATOR = {"addresses": ["198.51.100.7:30051"]}
RUN = {"namespace": "research-a", "name": "digits", "uid": "run-uid", "id": "run-uid-1"}


def collaborator_json(name: str = "fl-digits", *, uid: str = "", metadata: Any = None, **spec: Any) -> dict[str, Any]:
    """A Collaborator as the API server has it; each of `spec` replaces that part."""
    return {
        "apiVersion": "federation-ai.open-cluster-management.io/v1alpha1",
        "kind": "Collaborator",
        "metadata": {"name": name, "namespace": "agent", **({"uid": uid} if uid else {}), **(metadata or {})},
        "spec": {"run": RUN, "dataset": "mnist", "image": IMAGE, "aggregator": AGGREGATOR, **spec},
    }


def collaborator(name: str = "fl-digits", *, status: Any = None, **spec: Any) -> Collaborator:
    """The same, decoded."""
    body = collaborator_json(name, uid="c-uid", **spec)
    return msgspec.convert({**body, "status": status or {}}, Collaborator)


def open_dataset_json(**fields: Any) -> dict[str, Any]:
    """A Dataset that the builders' Collaborator may use without anybody's approval; `fields` change its policy."""
    return dataset_json(spec={"policy": policy(**{"approval": "Automatic", **fields})})


def open_dataset(*, volume: Any = None, annotations: Any = None, **fields: Any) -> Dataset:
    """The same, decoded, over another volume or with annotations."""
    body = open_dataset_json(**fields)
    if volume is not None:
        body["spec"]["volume"] = volume
    body["metadata"]["annotations"] = annotations or {}
    return msgspec.convert(body, Dataset)


def job_of(
    owner: Collaborator, dataset: Dataset, *conditions: tuple[str, str, str], failed: int = 0, **metadata: Any
) -> SiteJob:
    """The Collaborator's Job; each condition a type, a reason and a message."""
    return msgspec.convert(
        {
            "metadata": {
                "name": owner.metadata.name,
                "namespace": "agent",
                "uid": "job-uid",
                "annotations": {
                    INPUTS_ANNOTATION: inputs_digest(owner, dataset),
                    RUN_ID_ANNOTATION: owner.spec.run.attempt,
                },
                "ownerReferences": [reference("Collaborator", owner.metadata.uid)],
                **metadata,
            },
            "status": {
                "failed": failed,
                "conditions": [
                    {"type": kind, "status": "True", "reason": reason, "message": message}
                    for kind, reason, message in conditions
                ],
            },
        },
        SiteJob,
    )


def pod_of_job(name: str = "p1", *, state: Any = None, owner: str = "job-uid", **status: Any) -> CollaboratorPod:
    """A pod of the Job, whose container is in that state."""
    containers = [] if state is None else [{"name": "collaborator", "state": state}]
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "agent",
                "labels": {COLLABORATOR_LABEL: "fl-digits"},
                "ownerReferences": [reference("Job", owner)],
            },
            "status": {"containerStatuses": containers, **status},
        },
        CollaboratorPod,
    )


def failed_state(message: str = "", *, code: int = 4, at: str = "2030-06-01T00:00:00Z", reason: str = "Error") -> Any:
    """A container that ended with that termination message."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": at}}


def told(**fields: Any) -> str:
    """The runtime's termination message."""
    return json.dumps(
        {
            "reason": "WorkspaceFailed",
            "message": "No module named 'lightgbm'",
            "exception": "ModuleNotFoundError",
            "file": "src/taskrunner.py",
            "line": 7,
            **fields,
        }
    )


def reference(kind: str, uid: str) -> dict[str, Any]:
    """An owner reference."""
    return {"apiVersion": "v1", "kind": kind, "name": "x", "uid": uid}
