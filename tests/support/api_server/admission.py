"""The changes of an API server to an object between a client's request and its storage, as pure functions.

Sources: k8s.io/apiserver `pkg/registry/rest/{create,update,delete}.go`, and each kind's strategy.
"""

import copy
from datetime import datetime
from typing import Any, Final

from federation.kube.conditions import rfc3339
from federation.kube.errors import Conflict, Invalid, NotFound
from federation.kube.resource import Json, Kind, ObjectKey

WITHOUT_STATUS: Final = frozenset(
    [
        "secrets",
        "configmaps",
        "events",
        "leases",
        "managedclustersetbindings",
        "networkpolicies",
        "serviceaccounts",
        "roles",
        "rolebindings",
        "clusterroles",
        "clusterrolebindings",
        "clusterclaims",
        "addondeploymentconfigs",
    ]
)
WITHOUT_GENERATION: Final = frozenset(
    [
        "secrets",
        "configmaps",
        "events",
        "leases",
        "persistentvolumeclaims",
        "serviceaccounts",
        "services",
        "roles",
        "rolebindings",
        "clusterroles",
        "clusterrolebindings",
        "namespaces",
        "nodes",
        "certificatesigningrequests",
    ]
)
DECISIONS: Final = ("Approved", "Denied")
"""Conditions of a certificate signing request that only its approval subresource writes."""


def fresh(kind: Kind[Any], body: Json, key: ObjectKey, *, uid: str, now: datetime) -> Json:
    """The object that a create stores."""
    made = copy.deepcopy(body)
    asked: Json = made.get("metadata") or {}
    metadata = {
        **{name: value for name, value in asked.items() if name not in {"generateName", "managedFields"}},
        "name": key.name,
        "uid": uid,
        "creationTimestamp": rfc3339(now),
        **({"namespace": key.namespace} if kind.namespaced else {}),
        **({} if kind.plural in WITHOUT_GENERATION else {"generation": 1}),
    }
    metadata.pop("deletionTimestamp", None)
    if kind.plural not in WITHOUT_STATUS:
        made.pop("status", None)
    return {**made, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def check_identity(live: Json, body: Json) -> None:
    """Whether the body is of this version of this object.

    Raises:
        Conflict: it is of another version.
        Invalid: it is of another object of the same name, to which a real server says "field is immutable".
    """
    metadata = body.get("metadata") or {}
    if metadata.get("resourceVersion", live["metadata"]["resourceVersion"]) != live["metadata"]["resourceVersion"]:
        raise Conflict(f"the object has been modified since version {metadata['resourceVersion']}")
    if metadata.get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
        raise Invalid(f"metadata.uid: Invalid value: {metadata['uid']}: field is immutable")


def admitted(kind: Kind[Any], live: Json, asked: Json, *, subresource: str) -> Json:
    """The object that an update stores, equal to `live` when nothing changes; its version is not yet moved."""
    check_identity(live, asked)
    if subresource:
        changed = {**live, "status": _status(kind, live, asked, subresource)}
        return {name: value for name, value in changed.items() if value is not None}
    metadata = dict(asked.get("metadata") or {})
    metadata.pop("managedFields", None)
    for field in (
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
    ):
        metadata.pop(field, None)
        if field in live["metadata"]:
            metadata[field] = live["metadata"][field]
    metadata = {name: value for name, value in metadata.items() if value not in ({}, [], None)}
    added = set(metadata.get("finalizers", ())) - set(live["metadata"].get("finalizers", ()))
    if added and "deletionTimestamp" in metadata:
        raise Invalid(f"metadata.finalizers: no new finalizers can be added while the object is deleted: {added}")
    changed = {**asked, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    if kind.plural not in WITHOUT_STATUS:
        changed.pop("status", None)
        if "status" in live:
            changed["status"] = live["status"]
    if kind.plural == "certificatesigningrequests":
        changed["spec"] = live.get("spec")
    if _intent(changed) != _intent(live) and "generation" in metadata:
        metadata["generation"] += 1
    return changed


def _intent(raw: Json) -> Json:
    return {name: value for name, value in raw.items() if name not in {"metadata", "status"}}


def _status(kind: Kind[Any], live: Json, asked: Json, subresource: str) -> Any:
    if subresource not in ({"status"} if kind.plural != "certificatesigningrequests" else {"status", "approval"}):
        raise NotFound(f"the server could not find the requested resource: {kind.plural}/{subresource}")
    if kind.plural in WITHOUT_STATUS:
        raise NotFound(f"{kind.plural} have no status subresource")
    old, new = live.get("status") or {}, asked.get("status")
    if kind.plural != "certificatesigningrequests":
        return new
    return _request_status(old, new or {}, subresource)


def _request_status(old: Json, new: Json, subresource: str) -> Json:
    """The certificate is written at `/status`, the decision at `/approval`; each leaves the other's part alone."""
    decided, asked = (
        [entry["type"] for entry in status.get("conditions", ()) if entry["type"] in DECISIONS] for status in (old, new)
    )
    if subresource == "approval":
        if set(asked) == set(DECISIONS) or set(decided) - set(asked):
            raise Invalid("status.conditions: Approved and Denied are final and exclude each other")
        return {**old, "conditions": new.get("conditions", [])}
    if sorted(decided) != sorted(asked):
        raise Invalid("status.conditions: Approved and Denied are changed by /approval only")
    if old.get("certificate") and old["certificate"] != new.get("certificate"):
        raise Invalid("status.certificate: field is immutable")
    kept = {entry["type"]: entry for entry in old.get("conditions", ()) if entry["type"] in DECISIONS}
    conditions = [kept.get(entry["type"], entry) for entry in new.get("conditions", ())]
    return {**new, "conditions": conditions}
