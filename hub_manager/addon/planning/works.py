"""Build the ManifestWorks that deploy an agent on its cluster, and compare them with the present ones.

Names, label, owner and digests are those that OCM's addon-manager checks when it decides that an add-on has progressed:
 addon-framework `pkg/addonmanager/controllers/agentdeploy/utils.go`, ocm
`pkg/addon/controllers/addonprogressing/controller.go`.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from federation.api.identity import ADDON_NAME, TRUST_BUNDLE, TRUST_BUNDLE_KEY
from federation.api.meta import FEDERATION_GROUP, condition_of
from federation.api.ocm.addon import ConfigReference, ManagedClusterAddOn
from federation.api.ocm.work import CONFIG_SPEC_HASH_ANNOTATION, ManifestWork, manifests_digest
from federation.kube.resource import Json
from hub_manager.addon.planning.agent_manifests import ORPHAN_ANNOTATION
from hub_manager.addon.planning.hub_permissions import metadata

NAME_PREFIX: Final = f"addon-{ADDON_NAME}-deploy-"
SIZE_LIMIT: Final = 400 * 1024
"""Maximum bytes of JSON in one work: four fifths of the limit of OCM's webhook, as in addon-framework."""


TRUST_BUNDLE_ANNOTATION: Final = f"{FEDERATION_GROUP}/trust-bundle"
"""The digest of the trust bundle in a work."""


class ManifestTooLarge(ValueError):
    """A single manifest exceeds the maximum size of a work."""


def config_digests(references: Iterable[ConfigReference]) -> str:
    """Build the annotation by which addon-manager recognizes the configuration that a work was rendered from."""
    digests = {
        f"{r.resource}{'.' if r.group else ''}{r.group}/{r.desired_config.namespace}/{r.desired_config.name}": (
            r.desired_config.spec_hash
        )
        for r in references
        if r.desired_config is not None
    }
    return json.dumps(digests, sort_keys=True, separators=(",", ":"))


def split(manifests: Sequence[Json], limit: int = SIZE_LIMIT) -> tuple[tuple[Json, ...], ...]:
    """Distribute the manifests over as few works as their order allows.

    Args:
        manifests: In the order in which they are applied.
        limit: Maximum bytes of JSON in one work.

    Raises:
        ManifestTooLarge: A single manifest exceeds the limit.
    """
    works: list[tuple[Json, ...]] = []
    room = 0
    for manifest in manifests:
        size = len(msgspec.json.encode(manifest))
        if size > limit:
            raise ManifestTooLarge(f"{manifest['kind']} {manifest['metadata']['name']}: {size} bytes, limit {limit}")
        if size > room:
            works.append(())
            room = limit
        works[-1] = (*works[-1], manifest)
        room -= size
    return tuple(works)


def deploy_works(
    addon: ManagedClusterAddOn, manifests: Sequence[Json], references: Iterable[ConfigReference]
) -> tuple[Json, ...]:
    """Build the works to apply. Raises ManifestTooLarge."""
    annotation = config_digests(references)
    return tuple(_work(addon, number, part, annotation) for number, part in enumerate(split(manifests)))


def is_deploy_work(work: ManifestWork) -> bool:
    """Whether the work deploys the agent; all other works of the cluster are ignored."""
    return work.metadata.name.startswith(NAME_PREFIX)


def has_applied_bundle(work: ManifestWork, bundle: str) -> bool:
    """Whether the spoke reports that it has applied the work with this trust bundle."""
    applied = condition_of(work.status.conditions, "Applied")
    return (
        work.metadata.annotations.get(TRUST_BUNDLE_ANNOTATION) == _bundle_digest(bundle)
        and applied is not None
        and applied.status == "True"
        and applied.observed_generation == work.metadata.generation
    )


def _bundle_digest(bundle: str) -> str:
    return hashlib.sha256(bundle.encode()).hexdigest()


def is_current(work: ManifestWork, addon: ManagedClusterAddOn, desired: Json) -> bool:
    """Whether the present work has the desired content; fields that the server sets by default are ignored."""
    present, wanted = work.metadata, desired["metadata"]
    spec = desired["spec"]
    return (
        covers(present.labels, wanted["labels"])
        and covers(present.annotations, wanted["annotations"])
        and any(owner.uid == addon.metadata.uid for owner in present.owner_references)
        and work.spec.digest == manifests_digest(spec["workload"]["manifests"])
        and covers(list(work.spec.manifest_configs), spec["manifestConfigs"])
        and covers(work.spec.delete_option, spec["deleteOption"])
        and work.spec.executor is None
    )


def covers(present: Any, desired: Any) -> bool:
    """Whether every field of `desired` is in `present` with the same value; lists match item by item."""
    match desired:
        case dict():
            return isinstance(present, dict) and all(
                key in present and covers(present[key], desired[key]) for key in desired
            )
        case list() | tuple():
            return (
                isinstance(present, list | tuple)
                and len(present) == len(desired)
                and all(covers(p, d) for p, d in zip(present, desired, strict=True))
            )
        case _:
            return bool(present == desired)


def _work(addon: ManagedClusterAddOn, number: int, manifests: Sequence[Json], annotation: str) -> Json:
    own = metadata(addon, f"{NAME_PREFIX}{number}")
    # Set it even without a configuration: a foreign value would block addon-manager forever.
    annotations = {CONFIG_SPEC_HASH_ANNOTATION: annotation}
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap" and manifest["metadata"]["name"] == TRUST_BUNDLE:
            annotations[TRUST_BUNDLE_ANNOTATION] = _bundle_digest(manifest["data"][TRUST_BUNDLE_KEY])
    return {
        "apiVersion": "work.open-cluster-management.io/v1",
        "kind": "ManifestWork",
        "metadata": own | {"annotations": annotations},
        "spec": {
            "workload": {"manifests": list(manifests)},
            "deleteOption": _delete_option(manifests),
            "manifestConfigs": _manifest_configs(manifests),
        },
    }


def _delete_option(manifests: Sequence[Json]) -> Json:
    orphans = [_identifier(m) for m in manifests if ORPHAN_ANNOTATION in m["metadata"].get("annotations", {})]
    if not orphans:
        return {"propagationPolicy": "Foreground"}
    return {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": orphans}}


def _manifest_configs(manifests: Sequence[Json]) -> list[Json]:
    """Create namespaces but never change them, and report the available replicas of the Deployment."""
    options: list[Json] = []
    for manifest in manifests:
        match manifest["kind"]:
            case "Namespace":
                options.append({"resourceIdentifier": _identifier(manifest), "updateStrategy": {"type": "CreateOnly"}})
            case "Deployment":
                options.append(
                    {"resourceIdentifier": _identifier(manifest), "feedbackRules": [{"type": "WellKnownStatus"}]}
                )
    return options


_PLURALS: Final = {
    "Namespace": "namespaces",
    "Deployment": "deployments",
    "CustomResourceDefinition": "customresourcedefinitions",
    "NetworkPolicy": "networkpolicies",
}


def _identifier(manifest: Json) -> Json:
    identifier = {
        "group": manifest["apiVersion"].rpartition("/")[0],
        "resource": _PLURALS[manifest["kind"]],
        "name": manifest["metadata"]["name"],
    }
    namespace = manifest["metadata"].get("namespace", "")
    return identifier | ({"namespace": namespace} if namespace else {})
