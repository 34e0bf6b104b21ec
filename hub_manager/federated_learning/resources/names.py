"""What the objects of a run are called, and how they are told from all others.

The names and labels by which others look for them are `federation.api.run_names`.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from federation.api.federated_learning import FederatedLearning
from federation.api.meta import FEDERATION_GROUP
from federation.api.run_names import ATTEMPT_LABEL, RUN_LABEL, RUN_UID_LABEL, server_name, work_name
from federation.kube.kinds import FEDERATED_LEARNING
from federation.kube.resource import Json, ObjectKey, Resource

__all__ = [
    "ATTEMPT_LABEL",
    "FINALIZER",
    "OURS",
    "RENDERED_ANNOTATION",
    "RUN_ANNOTATION",
    "RUN_LABEL",
    "RUN_UID_LABEL",
    "belongs",
    "digest_of",
    "is_current",
    "key_of_run",
    "labels",
    "owner",
    "run_of_work",
    "secret_key",
    "server_key",
    "server_name",
    "with_digest",
    "work_name",
]

RUN_ANNOTATION: Final = f"{FEDERATION_GROUP}/run"
"""On works: the run's namespace and name, by which its controller is woken."""
RENDERED_ANNOTATION: Final = f"{FEDERATION_GROUP}/rendered"
"""The digest of an object as it was rendered; another one is applied anew."""
COPIED_KEY: Final = "plan"
"""The key of the plan's text in the run's own copy of it."""
FINALIZER: Final = f"{FEDERATION_GROUP}/run-cleanup"
OURS: Final = RUN_UID_LABEL
"""A selector of everything that belongs to some run."""


def key_of_run(run: FederatedLearning) -> ObjectKey:
    """The run's own key."""
    return ObjectKey(run.metadata.namespace, run.metadata.name)


def server_key(run: FederatedLearning, index: int = 0) -> ObjectKey:
    """The key of the aggregator's objects."""
    return ObjectKey(run.metadata.namespace, server_name(run, index))


def plan_key(run: FederatedLearning) -> ObjectKey:
    """The key of the run's own copy of its plan."""
    return ObjectKey(run.metadata.namespace, f"{server_name(run)}-plan")


def secret_key(run: FederatedLearning) -> ObjectKey:
    """The key of the Secret with the aggregator's certificate.

    The manager may create Secrets and delete them, and read none. So that it never deletes another's, the name ends in
    a digest of the run's uid, which nobody else would choose.
    """
    digest = hashlib.sha256(run.metadata.uid.encode()).hexdigest()[:12]
    return ObjectKey(run.metadata.namespace, f"{server_name(run)}-{digest}")


def belongs(resource: Resource, run: FederatedLearning) -> bool:
    """Whether the object was made for this very run, and not for an earlier one of its name, or by somebody else."""
    return resource.metadata.labels.get(RUN_UID_LABEL) == run.metadata.uid


def run_of_work(annotations: Mapping[str, str]) -> ObjectKey | None:
    """The run that a work says it is of; only a hint of what to look at."""
    namespace, slash, name = annotations.get(RUN_ANNOTATION, "").partition("/")
    return ObjectKey(namespace, name) if slash else None


def labels(run: FederatedLearning) -> dict[str, str]:
    """The labels of everything that belongs to the run."""
    return {RUN_UID_LABEL: run.metadata.uid, RUN_LABEL: run.metadata.name}


def owner(run: FederatedLearning) -> Json:
    """The run as the owner of an object in its namespace."""
    return {
        "apiVersion": FEDERATED_LEARNING.api_version,
        "kind": FEDERATED_LEARNING.kind,
        "name": run.metadata.name,
        "uid": run.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def with_digest(body: Json) -> Json:
    """The body with its own digest in an annotation, by which it is recognised when it is there."""
    metadata: dict[str, Any] = body["metadata"]
    annotations = metadata.get("annotations", {}) | {RENDERED_ANNOTATION: digest_of(body)}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def is_current(present: Resource | None, body: Json) -> bool:
    """Whether the object that is there was rendered from this very body."""
    if present is None or present.metadata.deleting:
        return False
    wanted = body["metadata"]["annotations"][RENDERED_ANNOTATION]
    return bool(present.metadata.annotations.get(RENDERED_ANNOTATION) == wanted)


def digest_of(value: object) -> str:
    """SHA-256, in hexadecimal, of the value as JSON; the order of keys does not matter."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def plan_source_key(run: FederatedLearning) -> ObjectKey | None:
    """The ConfigMap that the run names as its plan."""
    named = run.spec.server.plan
    return ObjectKey(run.metadata.namespace, named.config_map) if named is not None and named.config_map else None
