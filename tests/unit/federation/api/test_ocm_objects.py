"""The decoding of OCM's objects."""

import msgspec
import pytest

from federation.api.ocm.addon import ClusterManagementAddOn, ManagedClusterAddOn, RegistrationSubject, owned_by
from federation.api.ocm.cluster import ManagedCluster
from federation.api.ocm.work import ManifestWork, manifests_digest

FLEET = msgspec.convert({"metadata": {"name": "federated-learning", "uid": "u1"}}, ClusterManagementAddOn)


def _addon(**owner: str) -> ManagedClusterAddOn:
    reference = {
        "apiVersion": "addon.open-cluster-management.io/v1alpha1",
        "kind": "ClusterManagementAddOn",
        "name": "federated-learning",
        "uid": "u1",
    } | owner
    return msgspec.convert({"metadata": {"ownerReferences": [reference]}}, ManagedClusterAddOn)


def test_an_addon_is_owned_whatever_api_version_ocm_wrote() -> None:
    assert owned_by(_addon(apiVersion="addon.open-cluster-management.io/v1beta1"), FLEET)


@pytest.mark.parametrize(
    "other",
    [
        {"apiVersion": "example.org/v1"},
        {"kind": "ManagedClusterAddOn"},
        {"name": "federated"},
        {"uid": "u2"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_an_addon_is_not_owned_by_another_object(other: dict[str, str]) -> None:
    assert not owned_by(_addon(**other), FLEET)


def test_organization_unit_is_singular_on_the_wire() -> None:
    subject = RegistrationSubject(user="c1", groups=("g",), organization_unit=("ou",))

    assert msgspec.to_builtins(subject) == {"user": "c1", "groups": ("g",), "organizationUnit": ("ou",)}


def test_default_config_references_are_spelt_as_upstream_spells_them() -> None:
    fleet = msgspec.convert(
        {"status": {"defaultconfigReferences": [{"group": "g", "resource": "r", "desiredConfig": {"name": "n"}}]}},
        ClusterManagementAddOn,
    )

    assert [r.resource for r in fleet.status.default_config_references] == ["r"]


def test_a_deleting_cluster_is_not_accepted() -> None:
    cluster = {"metadata": {"name": "c1"}, "spec": {"hubAcceptsClient": True}}
    deleting = {**cluster, "metadata": {"name": "c1", "deletionTimestamp": "2026-01-01T00:00:00Z"}}

    assert msgspec.convert(cluster, ManagedCluster).accepted
    assert not msgspec.convert(deleting, ManagedCluster).accepted


def test_a_work_keeps_the_digest_of_its_manifests_and_not_the_manifests() -> None:
    manifests = [{"kind": "ConfigMap", "data": {"b": "1", "a": "2"}}]
    raw = {"spec": {"workload": {"manifests": manifests}, "deleteOption": {"propagationPolicy": "Foreground"}}}

    work = msgspec.json.decode(msgspec.json.encode(raw), type=ManifestWork)

    assert work.spec.workload == {}
    assert work.spec.digest == manifests_digest([{"data": {"a": "2", "b": "1"}, "kind": "ConfigMap"}])
    assert work.spec.digest != manifests_digest([{"data": {"a": "2"}, "kind": "ConfigMap"}])
