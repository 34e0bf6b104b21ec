"""Name and label the objects of a run, and recognize them.

Names and labels that other components use are in `federation.api.run_names`.
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
"""Annotation of a ManifestWork: namespace and name of the run to reconcile when it changes."""
RENDERED_ANNOTATION: Final = f"{FEDERATION_GROUP}/rendered"
"""Annotation: digest of the rendered object; an object with another digest is applied again."""
COPIED_KEY: Final = "plan"
"""Key of the plan's text in the run's copy of it."""
FINALIZER: Final = f"{FEDERATION_GROUP}/run-cleanup"
OURS: Final = RUN_UID_LABEL
"""Label selector for the objects of all runs."""


def key_of_run(run: FederatedLearning) -> ObjectKey:
    """Return the key of the run."""
    return ObjectKey(run.metadata.namespace, run.metadata.name)


def server_key(run: FederatedLearning, index: int = 0) -> ObjectKey:
    """Return the key of the aggregator's objects."""
    return ObjectKey(run.metadata.namespace, server_name(run, index))


def plan_key(run: FederatedLearning) -> ObjectKey:
    """Return the key of the run's copy of its plan."""
    return ObjectKey(run.metadata.namespace, f"{server_name(run)}-plan")


def secret_key(run: FederatedLearning) -> ObjectKey:
    """Return the key of the Secret with the aggregator's certificate.

    The hub manager may create and delete Secrets but not read them. The name ends in a digest of the run's uid, so that
    the hub manager never deletes a Secret that it does not own.
    """
    digest = hashlib.sha256(run.metadata.uid.encode()).hexdigest()[:12]
    return ObjectKey(run.metadata.namespace, f"{server_name(run)}-{digest}")


def belongs(resource: Resource, run: FederatedLearning) -> bool:
    """Check whether the object bears the uid of this run, and not that of an earlier run of the same name."""
    return resource.metadata.labels.get(RUN_UID_LABEL) == run.metadata.uid


def run_of_work(annotations: Mapping[str, str]) -> ObjectKey | None:
    """Return the run that a ManifestWork names; only a hint of which run to reconcile."""
    namespace, slash, name = annotations.get(RUN_ANNOTATION, "").partition("/")
    return ObjectKey(namespace, name) if slash else None


def labels(run: FederatedLearning) -> dict[str, str]:
    """Return the labels of the run's objects."""
    return {RUN_UID_LABEL: run.metadata.uid, RUN_LABEL: run.metadata.name}


def owner(run: FederatedLearning) -> Json:
    """Return the owner reference to the run, for objects in its namespace."""
    return {
        "apiVersion": FEDERATED_LEARNING.api_version,
        "kind": FEDERATED_LEARNING.kind,
        "name": run.metadata.name,
        "uid": run.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def with_digest(body: Json) -> Json:
    """Return the body with its digest in an annotation, which `is_current` compares."""
    metadata: dict[str, Any] = body["metadata"]
    annotations = metadata.get("annotations", {}) | {RENDERED_ANNOTATION: digest_of(body)}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def is_current(present: Resource | None, body: Json) -> bool:
    """Check whether the object was rendered from this body and is not being deleted."""
    if present is None or present.metadata.deleting:
        return False
    wanted = body["metadata"]["annotations"][RENDERED_ANNOTATION]
    return bool(present.metadata.annotations.get(RENDERED_ANNOTATION) == wanted)


def digest_of(value: object) -> str:
    """Return the SHA-256, in hexadecimal, of the value as JSON; the order of keys does not matter."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def plan_source_key(run: FederatedLearning) -> ObjectKey | None:
    """Return the key of the ConfigMap that the run names as its plan, or None."""
    named = run.spec.server.plan
    return ObjectKey(run.metadata.namespace, named.config_map) if named is not None and named.config_map else None
