"""Grant an agent its rights on the hub: read its own AddOnPlacementScore and write that object's status.

The hub manager creates the score object, so that agents do not need `create`, which RBAC cannot limit to a name. The
cluster's ManagedClusterAddOn owns all these objects, which are deleted with it.
"""

from typing import Final

from federation.api.identity import ADDON_LABEL, ADDON_NAME, agent_subject
from federation.api.ocm.addon import ADDON_GROUP, ManagedClusterAddOn
from federation.kube.resource import Json, ObjectKey
from hub_manager.addon.planning.registration import TOKEN_DRIVER

NAME: Final = f"open-cluster-management:{ADDON_NAME}:agent"
"""The name of the Role and the RoleBinding in every cluster's namespace."""

RULES: Final[tuple[Json, ...]] = (
    {
        "apiGroups": ["cluster.open-cluster-management.io"],
        "resources": ["addonplacementscores"],
        "resourceNames": [ADDON_NAME],
        "verbs": ["get", "list", "watch"],
    },
    {
        "apiGroups": ["cluster.open-cluster-management.io"],
        "resources": ["addonplacementscores/status"],
        "resourceNames": [ADDON_NAME],
        "verbs": ["get", "patch", "update"],
    },
)


def owner_reference(addon: ManagedClusterAddOn) -> Json:
    """Build the owner reference with which an object is deleted together with the add-on."""
    return {
        "apiVersion": f"{ADDON_GROUP}/v1alpha1",
        "kind": "ManagedClusterAddOn",
        "name": addon.metadata.name,
        "uid": addon.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(addon: ManagedClusterAddOn, name: str) -> Json:
    """Build the metadata of an object in the cluster's namespace that belongs to the add-on."""
    return {
        "name": name,
        "namespace": addon.cluster,
        "labels": {ADDON_LABEL: ADDON_NAME},
        "ownerReferences": [owner_reference(addon)],
    }


def role(addon: ManagedClusterAddOn) -> Json:
    """Build the Role with the agent's rights on the hub."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(addon, NAME),
        "rules": [dict(rule) for rule in RULES],
    }


def subjects(addon: ManagedClusterAddOn) -> tuple[Json, ...]:
    """Return the agent's subjects on the hub: with a certificate a group, with a token a service account."""
    if addon.status.kube_client_driver == TOKEN_DRIVER:
        return ({"kind": "ServiceAccount", "name": f"{ADDON_NAME}-agent", "namespace": addon.cluster},)
    own_group = agent_subject(addon.cluster).groups[0]
    return ({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": own_group},)


ROLE_REF: Final[Json] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}


def role_binding(addon: ManagedClusterAddOn) -> Json:
    """Build the RoleBinding that grants the rights of `role` to the agent only."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(addon, NAME),
        "roleRef": dict(ROLE_REF),
        "subjects": [dict(subject) for subject in subjects(addon)],
    }


def placement_score(addon: ManagedClusterAddOn) -> Json:
    """Build the object whose status the agent writes."""
    return {
        "apiVersion": "cluster.open-cluster-management.io/v1alpha1",
        "kind": "AddOnPlacementScore",
        "metadata": metadata(addon, ADDON_NAME),
    }


def permission_key(cluster: str) -> ObjectKey:
    """Return the key of a cluster's Role and RoleBinding."""
    return ObjectKey(cluster, NAME)
