"""The part of a ManagedClusterAddOn's status that is ours, and the patch that brings it about.

The status is shared: addon-manager writes Configured, Progressing and the configuration's entries, the klusterlet
Available, ClusterCertificateRotated and its driver. A JSON merge patch replaces lists as a whole, so every patch
carries uid and resourceVersion: one made on an outdated view fails and is made anew.
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
"""A condition of our own: which configuration is in force, or which field of it can't be."""

_MESSAGE_LIMIT: Final = 1024


class AddOnReason(Enum):
    """The reasons that OCM knows for its own conditions: api `addon/v1alpha1/types_managedclusteraddon.go`."""

    SET_PERMISSION_APPLIED = "SetPermissionApplied"
    """The agent's rights and registrations are in place."""
    MANIFESTS_APPLIED = "AddonManifestApplied"
    """The spoke's work agent applied everything."""
    MANIFESTS_REFUSED = "AddonManifestAppliedFailed"
    """The spoke's work agent could not apply some manifest; the message names it."""
    NOT_RENDERED = "ManifestWorkApplyFailed"
    """No work could be made; the message says why."""


def with_condition(
    present: Sequence[Condition], kind: str, status: ConditionStatus, reason: str, message: str, now: datetime
) -> tuple[Condition, ...]:
    """The conditions with that one in its place; the time moves only with the status."""
    new = Condition(type=kind, status=status, reason=reason, message=message[:_MESSAGE_LIMIT])
    return merge_condition(present, new, now=now)


def registered(present: Sequence[Condition], now: datetime) -> tuple[Condition, ...]:
    """The conditions once the agent's rights and registrations are in place."""
    message = "Registration of the addon agent is configured"
    return with_condition(present, REGISTRATION_APPLIED, "True", AddOnReason.SET_PERMISSION_APPLIED.value, message, now)


def manifest_applied(
    present: Sequence[Condition], works: Sequence[ManifestWork], now: datetime
) -> tuple[Condition, ...]:
    """The conditions after what the spoke reports of the works; a work not reported on yet changes nothing but a False.

    Args:
        present: The conditions that are there.
        works: Every work of the agent, all of them saying what is desired.
        now: The time of a change.
    """
    applied = [_reported(work) for work in works]
    if any(condition is not None and condition.status == "False" for condition in applied):
        message = "The work agent could not apply: " + "; ".join(_refused(works))
        return with_condition(present, MANIFEST_APPLIED, "False", AddOnReason.MANIFESTS_REFUSED.value, message, now)
    if works and all(condition is not None and condition.status == "True" for condition in applied):
        message = "manifests of addon are applied successfully"
        return with_condition(present, MANIFEST_APPLIED, "True", AddOnReason.MANIFESTS_APPLIED.value, message, now)
    old = condition_of(present, MANIFEST_APPLIED)
    if old is not None and old.status == "False":
        return tuple(condition for condition in present if condition.type != MANIFEST_APPLIED)
    return tuple(present)


def status_patch(addon: ManagedClusterAddOn, desired: dict[str, Any]) -> Json | None:
    """A merge patch of the fields of `status` that differ from the desired ones, or None where none does.

    Args:
        addon: The add-on as it was read.
        desired: Our fields as the struct names them, with their new values.
    """
    changed = {name: value for name, value in desired.items() if getattr(addon.status, name) != value}
    if not changed:
        return None
    return {"metadata": preconditions(addon.metadata), "status": {_WIRE[name]: _json(v) for name, v in changed.items()}}


def preconditions(metadata: ObjectMeta) -> Json:
    """What makes a patch fail on another object of the name, or on a newer version of it."""
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
    """What the spoke says of the work as it is now; what it said of an earlier generation doesn't count."""
    condition = condition_of(work.status.conditions, APPLIED)
    current = condition is not None and condition.observed_generation >= work.metadata.generation
    return condition if current else None


def _refused(works: Iterable[ManifestWork]) -> Iterable[str]:
    for work in works:
        for result in work.status.resource_status.manifests:
            condition = condition_of(result.conditions, APPLIED)
            if condition is not None and condition.status == "False":
                yield f"{result.resource_meta.kind} {result.resource_meta.name} ({condition.message})"
