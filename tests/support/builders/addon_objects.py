"""Builders of what the add-on's plan observes, and a small world in which its actions take effect."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from federation.api.kubernetes.core import Role, RoleBinding
from federation.api.ocm.addon import AddOnDeploymentConfig, ClusterManagementAddOn, ConfigReferent, ManagedClusterAddOn
from federation.api.ocm.claims import AddOnPlacementScore
from federation.api.ocm.cluster import ManagedCluster
from federation.api.ocm.work import ManifestWork
from federation.kube.actions import Action, Apply, Delete, Patch
from federation.kube.kinds import ADD_ON_PLACEMENT_SCORE, MANIFEST_WORK, ROLE, ROLE_BINDING
from federation.kube.resource import Json
from hub_manager.addon.planning.deployment_config import spec_hash
from hub_manager.addon.planning.plan import AddOnSettings, ObservedAddOn, plan_addon
from hub_manager.addon.planning.templates import Templates, load_templates

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BUNDLE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
IMAGE = "registry.example.org/federation/agent:1.2.3"
ADC = {"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs"}
CONFIGURED = {
    "type": "Configured",
    "status": "True",
    "reason": "ConfigurationsConfigured",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@cache
def templates() -> Templates:
    return load_templates(Path(__file__).parents[3] / "addon-templates")


def settings() -> AddOnSettings:
    return AddOnSettings(templates=templates(), image=IMAGE)


def cluster(name: str = "c1", *, accepted: bool = True, **metadata: Any) -> ManagedCluster:
    return msgspec.convert(
        {"metadata": {"name": name, **metadata}, "spec": {"hubAcceptsClient": accepted}}, ManagedCluster
    )


def cluster_management_addon(*, defaults: str = "", placed: Iterable[str] = ()) -> ClusterManagementAddOn:
    default = {"defaultConfig": {"namespace": "ns", "name": defaults}} if defaults else {}
    return msgspec.convert(
        {
            "metadata": {"name": "federated-learning", "uid": "fleet-uid", "resourceVersion": "1"},
            "spec": {
                "supportedConfigs": [{**ADC, **default}],
                "installStrategy": {
                    "placements": [{"configs": [{**ADC, "namespace": "ns", "name": name}]} for name in placed]
                },
            },
        },
        ClusterManagementAddOn,
    )


def raw_addon(name: str = "c1", *, uid: str = "addon-uid", status: Json | None = None, **spec: Any) -> Json:
    return {
        "metadata": {
            "name": "federated-learning",
            "namespace": name,
            "uid": uid,
            "resourceVersion": "1",
            "ownerReferences": [
                {
                    "apiVersion": "addon.open-cluster-management.io/v1beta1",
                    "kind": "ClusterManagementAddOn",
                    "name": "federated-learning",
                    "uid": "fleet-uid",
                }
            ],
        },
        "spec": spec,
        "status": {"conditions": [CONFIGURED]} if status is None else status,
    }


def addon(name: str = "c1", **changes: Any) -> ManagedClusterAddOn:
    return msgspec.convert(raw_addon(name, **changes), ManagedClusterAddOn)


def deployment_config(name: str = "adc", generation: int = 3, **spec: Any) -> AddOnDeploymentConfig:
    return AddOnDeploymentConfig(
        metadata=msgspec.convert(
            {"name": name, "namespace": "ns", "generation": generation}, type(AddOnDeploymentConfig().metadata)
        ),
        spec=spec,
    )


def configs_of(*configs: AddOnDeploymentConfig) -> dict[ConfigReferent, AddOnDeploymentConfig]:
    return {ConfigReferent(name=c.metadata.name, namespace=c.metadata.namespace): c for c in configs}


def reference(config: AddOnDeploymentConfig, digest: str | None = None) -> Json:
    name = {"namespace": config.metadata.namespace, "name": config.metadata.name}
    return {**ADC, **name, "desiredConfig": {**name, "specHash": spec_hash(config) if digest is None else digest}}


def chosen(config: AddOnDeploymentConfig) -> Json:
    return {**ADC, "namespace": config.metadata.namespace, "name": config.metadata.name}


@dataclass
class World:
    """The hub as far as one cluster's add-on is concerned."""

    addon: Json | None = field(default_factory=raw_addon)
    cluster: ManagedCluster | None = field(default_factory=cluster)
    cluster_management_addon: ClusterManagementAddOn | None = field(default_factory=cluster_management_addon)
    configs: dict[ConfigReferent, AddOnDeploymentConfig] = field(default_factory=dict)
    trust_bundle: str = BUNDLE
    objects: dict[tuple[str, str], Json] = field(default_factory=dict)
    version: int = 1

    def observe(self, now: datetime = NOW) -> ObservedAddOn:
        works = [v for (kind, _), v in sorted(self.objects.items()) if kind == "ManifestWork"]
        name = "c1"
        return ObservedAddOn(
            now=now,
            namespace=name,
            cluster=self.cluster,
            addon=None if self.addon is None else msgspec.convert(self.addon, ManagedClusterAddOn),
            cluster_management_addon=self.cluster_management_addon,
            configs=self.configs,
            works=tuple(msgspec.convert(copy.deepcopy(work), ManifestWork) for work in works),
            role=self._one(ROLE.kind, Role),
            role_binding=self._one(ROLE_BINDING.kind, RoleBinding),
            score=self._one(ADD_ON_PLACEMENT_SCORE.kind, AddOnPlacementScore),
            trust_bundle=self.trust_bundle,
        )

    def _one(self, kind: str, struct: type[Any]) -> Any:
        found = [v for (k, _), v in self.objects.items() if k == kind]
        return msgspec.convert(found[0], struct) if found else None

    def carry_out(self, action: Action) -> None:
        self.version += 1
        match action:
            case Apply(kind=kind, key=key, body=body):
                old = self.objects.get((kind.kind, key.name), {})
                new = copy.deepcopy(body)
                new["metadata"]["uid"] = old.get("metadata", {}).get("uid", f"uid-{self.version}")
                changed = old.get("spec") != new.get("spec")
                new["metadata"]["generation"] = old.get("metadata", {}).get("generation", 0) + changed
                new["status"] = old.get("status", {})
                self.objects[kind.kind, key.name] = new
            case Patch(patch=patch):
                assert self.addon is not None
                wanted = (self.addon["metadata"]["uid"], self.addon["metadata"]["resourceVersion"])
                assert (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"]) == wanted
                self.addon["status"] = self.addon["status"] | copy.deepcopy(patch["status"])
                self.addon["metadata"]["resourceVersion"] = str(self.version)
            case Delete(kind=kind, key=key, uid=uid):
                present = self.objects[kind.kind, key.name]
                assert present["metadata"]["uid"] == uid
                if kind is MANIFEST_WORK and present["metadata"].get("finalizers"):
                    present["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
                else:
                    del self.objects[kind.kind, key.name]

    def settle(self, steps: int = 10) -> None:
        for _ in range(steps):
            actions = plan_addon(self.observe(), settings()).actions
            if not actions:
                return
            for action in actions:
                self.carry_out(action)
        raise AssertionError(f"not settled: {[type(a).__name__ for a in actions]}")

    def status(self) -> Json:
        assert self.addon is not None
        status: Json = self.addon["status"]
        return status

    def condition(self, kind: str) -> Json | None:
        return next((c for c in self.status().get("conditions", ()) if c["type"] == kind), None)

    def works(self) -> list[Json]:
        return [v for (kind, _), v in sorted(self.objects.items()) if kind == "ManifestWork"]

    def manifests(self) -> list[Json]:
        return [m for work in self.works() for m in work["spec"]["workload"]["manifests"]]

    def manifest(self, kind: str, name: str = "") -> Json:
        found = [m for m in self.manifests() if m["kind"] == kind and name in m["metadata"]["name"]]
        assert len(found) == 1, f"{kind} {name}: {len(found)}"
        return found[0]

    def report(self, status: str, *, generation: int | None = None, message: str = "") -> None:
        """The conditions that the work agent sets on every work."""
        for work in self.works():
            seen = work["metadata"]["generation"] if generation is None else generation
            condition = {"type": "Applied", "status": status, "observedGeneration": seen, "message": message}
            work["status"] = {
                "conditions": [condition],
                "resourceStatus": {
                    "manifests": [{"resourceMeta": {"kind": "Deployment", "name": "x"}, "conditions": [condition]}]
                },
            }


def changed(observed: ObservedAddOn, **fields: Any) -> ObservedAddOn:
    return replace(observed, **fields)
