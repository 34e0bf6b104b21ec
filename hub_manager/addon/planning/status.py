"""Build our part of a ManagedClusterAddOn's status, and the patch that writes it.

The status is shared: addon-manager writes Configured, Progressing and the configuration's entries, the klusterlet
Available, ClusterCertificateRotated and its driver. A JSON merge patch replaces whole lists, so every patch
contains uid and resourceVersion: a patch of an outdated version fails and is computed again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final

from federation.api.meta import Condition, ConditionStatus, ObjectMeta, condition_of
from federation.api.ocm.addon import ManagedClusterAddOn
from federation.api.ocm.work import APPLIED, ManifestWork
from federation.kube.conditions import merge_condition
from federation.kube.encoding import condition_json, plain
from federation.kube.resource import Json

REGISTRATION_APPLIED: Final = "RegistrationApplied"
MANIFEST_APPLIED: Final = "ManifestApplied"
CONFIGURATION_ACCEPTED: Final = "ConfigurationAccepted"
"""Reports the applied configuration, or its invalid field; OCM does not define this condition."""

_MESSAGE_LIMIT: Final = 1024


class AddOnReason(Enum):
    """Reasons of the conditions that OCM defines: api `addon/v1alpha1/types_managedclusteraddon.go`."""

    SET_PERMISSION_APPLIED = "SetPermissionApplied"
    """The agent's rights and registrations are set."""
    MANIFESTS_APPLIED = "AddonManifestApplied"
    """The spoke's work agent applied all manifests."""
    MANIFESTS_REFUSED = "AddonManifestAppliedFailed"
    """The spoke's work agent failed to apply a manifest; the message names it."""
    NOT_RENDERED = "ManifestWorkApplyFailed"
    """The manifests cannot be rendered; the message states the reason."""


def with_condition(
    present: Sequence[Condition], kind: str, status: ConditionStatus, reason: str, message: str, now: datetime
) -> tuple[Condition, ...]:
    """Set one condition; its transition time changes only with its status."""
    new = Condition(type=kind, status=status, reason=reason, message=message[:_MESSAGE_LIMIT])
    return merge_condition(present, new, now=now)


def registered(present: Sequence[Condition], now: datetime) -> tuple[Condition, ...]:
    """Set the condition for the agent's rights and registrations."""
    message = "Registration of the addon agent is configured"
    return with_condition(present, REGISTRATION_APPLIED, "True", AddOnReason.SET_PERMISSION_APPLIED.value, message, now)


def manifest_applied(
    present: Sequence[Condition], works: Sequence[ManifestWork], now: datetime
) -> tuple[Condition, ...]:
    """Set the condition that the spoke reports of the works; one that it has not reported yet clears only a False.

    Args:
        present: The present conditions.
        works: All works of the agent, each with the desired content.
        now: The time of a transition.
    """
    applied = [_reported(work) for work in works]
    if any(condition is not None and condition.status == "False" for condition in applied):
        message = "The work agent failed to apply " + "; ".join(_refused(works))
        return with_condition(present, MANIFEST_APPLIED, "False", AddOnReason.MANIFESTS_REFUSED.value, message, now)
    if works and all(condition is not None and condition.status == "True" for condition in applied):
        message = "manifests of addon are applied successfully"
        return with_condition(present, MANIFEST_APPLIED, "True", AddOnReason.MANIFESTS_APPLIED.value, message, now)
    old = condition_of(present, MANIFEST_APPLIED)
    if old is not None and old.status == "False":
        return tuple(condition for condition in present if condition.type != MANIFEST_APPLIED)
    return tuple(present)


def status_patch(current: ManagedClusterAddOn, desired: dict[str, Any]) -> Json | None:
    """Build a merge patch of the fields of `status` that differ from the desired ones, or None if all are equal.

    Args:
        current: The ManagedClusterAddOn as it was read.
        desired: Our fields by their names in the struct, with their desired values.
    """
    changed = {name: value for name, value in desired.items() if getattr(current.status, name) != value}
    if not changed:
        return None
    return {
        "metadata": preconditions(current.metadata),
        "status": {_WIRE[name]: _json(v) for name, v in changed.items()},
    }


def preconditions(metadata: ObjectMeta) -> Json:
    """Return metadata with which a patch fails on another object of the name, or on a newer version."""
    return {"uid": metadata.uid, "resourceVersion": metadata.resource_version}


_WIRE: Final = {
    "supported_configs": "supportedConfigs",
    "config_references": "configReferences",
    "registrations": "registrations",
    "namespace": "namespace",
    "health_check": "healthCheck",
    "conditions": "conditions",
}


def _json(value: Any) -> Any:
    match value:
        case Condition():
            return condition_json(value)
        case tuple():
            return [_json(item) for item in value]
        case _:
            return plain(value)


def _reported(work: ManifestWork) -> Condition | None:
    """Return the spoke's report on the work's current generation, or None."""
    condition = condition_of(work.status.conditions, APPLIED)
    current = condition is not None and condition.observed_generation >= work.metadata.generation
    return condition if current else None


def _refused(works: Iterable[ManifestWork]) -> Iterable[str]:
    for work in works:
        for result in work.status.resource_status.manifests:
            condition = condition_of(result.conditions, APPLIED)
            if condition is not None and condition.status == "False":
                yield f"{result.resource_meta.kind} {result.resource_meta.name} ({condition.message})"
