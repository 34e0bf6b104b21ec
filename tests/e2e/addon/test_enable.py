"""An administrator enables the add-on on a cluster, and needs no more commands."""

import json
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from demo import install
from demo.install import ADD_ON, HUB_NAMESPACE, INSTALL_NAMESPACE
from fleet.command import CommandFailed, run
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import TIMEOUT_FLAG, until
from tests.support.fleet.on_hub import CERTIFICATE_SECRET, KUBECONFIG_SECRET, conditions, read, until_secret

pytestmark = pytest.mark.fleet
Clusters = Fleet | ExistingFleet
COMPLETE = {
    "RegistrationApplied": "True/SetPermissionApplied",
    "ManifestApplied": "True/AddonManifestApplied",
    "Available": "True/ManagedClusterAddOnLeaseUpdated",
    "Progressing": "False/Completed",
    "ClusterCertificateRotated": "True/ClientCertificateUpdated",
}


async def test_an_enabled_add_on_has_every_condition_that_ocm_expects(enabled: Clusters) -> None:
    for spoke in enabled.spokes:
        await until(partial(_complete, enabled, spoke), f"the add-on's rollout on {spoke} completes")


async def _complete(clusters: Clusters, spoke: str) -> bool:
    return COMPLETE.items() <= (await conditions(clusters, spoke)).items()


async def test_each_spoke_has_a_certificate_of_its_own_name_that_openssl_accepts(
    enabled: Clusters, tmp_path: Path
) -> None:
    bundle = await read(enabled, HUB, "configmap", "federated-learning-trust-bundle", f"--namespace={HUB_NAMESPACE}")
    (tmp_path / "ca.crt").write_text(bundle["data"]["ca.crt"])
    for spoke in enabled.spokes:
        held = await until_secret(enabled, spoke, CERTIFICATE_SECRET)
        certificate = x509.load_pem_x509_certificate(held["tls.crt"])
        assert [a.value for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [spoke]
        assert [a.value for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == [ADD_ON]
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        (tmp_path / "leaf.crt").write_bytes(held["tls.crt"])
        verify = ("openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile")
        assert (await run(*verify, tmp_path / "ca.crt", tmp_path / "leaf.crt")).endswith("OK\n")


async def test_the_spoke_has_the_hubs_trust_bundle(enabled: Clusters) -> None:
    name = "federated-learning-trust-bundle"
    ours = await read(enabled, HUB, "configmap", name, f"--namespace={HUB_NAMESPACE}")
    for spoke in enabled.spokes:
        theirs = await read(enabled, spoke, "configmap", name, f"--namespace={INSTALL_NAMESPACE}")
        assert theirs["data"]["ca.crt"] == ours["data"]["ca.crt"]


async def test_a_spokes_collaborators_are_confined_before_there_are_any(enabled: Clusters) -> None:
    for spoke in enabled.spokes:
        name = "federated-learning.collaborators"
        policy = await read(enabled, spoke, "networkpolicy", name, f"--namespace={INSTALL_NAMESPACE}")
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert not {"ingress", "egress"} & policy["spec"].keys()


async def test_the_agents_rights_on_the_hub_end_at_its_own_score(enabled: Clusters) -> None:
    spoke, other = enabled.spokes[:2]
    agent = (
        f"--as=system:open-cluster-management:cluster:{spoke}:addon:{ADD_ON}:agent:federated-learning-agent",
        f"--as-group=system:open-cluster-management:cluster:{spoke}:addon:{ADD_ON}",
        f"--as-group=system:open-cluster-management:addon:{ADD_ON}",
        "--as-group=system:authenticated",
    )

    async def may(verb: str, what: str, namespace: str) -> bool:
        words = ("auth", "can-i", verb, what, f"--namespace={namespace}", *agent)
        return await succeeds(enabled, *words)

    assert await may("patch", f"addonplacementscores/{ADD_ON}", spoke) is False, "only its status"
    assert await succeeds(
        enabled, "auth", "can-i", "patch", f"addonplacementscores/{ADD_ON}", "--subresource=status",
        f"--namespace={spoke}", *agent,
    )  # fmt: skip
    assert not await may("get", f"addonplacementscores/{ADD_ON}", other)
    for what in ("secrets", "configmaps", "manifestworks", "managedclusteraddons", "certificatesigningrequests"):
        for namespace in (spoke, other, HUB_NAMESPACE):
            assert not await may("list", what, namespace)


async def succeeds(clusters: Clusters, *words: str) -> bool:
    try:
        return (await clusters.kubectl(HUB, *words)).strip() == "yes"
    except CommandFailed:
        return False


async def test_the_agent_runs_hardened_and_serves_metrics(enabled: Clusters) -> None:
    for spoke in enabled.spokes:
        pods = await read(
            enabled, spoke, "pods", f"--namespace={INSTALL_NAMESPACE}",
            "--selector=app.kubernetes.io/name=federated-learning-agent",
        )  # fmt: skip
        (pod,) = pods["items"]
        container = pod["spec"]["containers"][0]["securityContext"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert container["readOnlyRootFilesystem"]
        assert container["capabilities"]["drop"] == ["ALL"]
        metrics = await enabled.kubectl(
            spoke,
            "get",
            "--raw",
            f"/api/v1/namespaces/{INSTALL_NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/metrics",
        )
        assert "# TYPE" in metrics


async def test_an_add_on_in_another_namespace_of_the_spoke_works_and_goes_without_leftovers(hub: Clusters) -> None:
    spoke, namespace = hub.spokes[0], "elsewhere"
    await hub.kubectl(HUB, "delete", "managedclusteraddon", ADD_ON, f"--namespace={spoke}", "--ignore-not-found")
    await until_gone(hub, spoke, INSTALL_NAMESPACE)
    body = json.dumps(install.add_on(spoke, install_namespace=namespace))
    await hub.kubectl(HUB, "apply", "-f", "-", stdin=body)
    try:
        await hub.kubectl(
            HUB, "wait", "--for=condition=Available", f"managedclusteraddon/{ADD_ON}", f"--namespace={spoke}",
            TIMEOUT_FLAG,
        )  # fmt: skip
        await until_secret(hub, spoke, CERTIFICATE_SECRET, namespace=namespace)
    finally:
        await install.disable(hub, spoke)
    await until_gone(hub, spoke, namespace)
    await install.enable(hub, spoke)


async def until_gone(clusters: Clusters, spoke: str, namespace: str) -> None:
    """Waits until neither the hub's namespace of the spoke nor the spoke has anything of the add-on."""

    async def gone() -> bool:
        on_hub = await read(
            clusters, HUB, "manifestworks,roles,rolebindings,addonplacementscores", f"--namespace={spoke}"
        )
        named = [item["metadata"]["name"] for item in on_hub["items"] if ADD_ON in item["metadata"]["name"]]
        on_spoke = await read(
            clusters, spoke, "deployments,serviceaccounts,configmaps,secrets,leases", f"--namespace={namespace}"
        )
        named += [item["metadata"]["name"] for item in on_spoke["items"] if ADD_ON in item["metadata"]["name"]]
        claims = await read(clusters, spoke, "clusterclaims")
        named += [c["metadata"]["name"] for c in claims["items"] if "federation-ai" in c["metadata"]["name"]]
        return not named

    await until(gone, f"everything of the add-on on {spoke} is gone")


async def test_install_by_placement_enables_and_disables(hub: Clusters) -> None:
    spoke = hub.spokes[1]
    await hub.kubectl(HUB, "delete", "managedclusteraddon", ADD_ON, f"--namespace={spoke}", "--ignore-not-found")
    label = "federated-learning-test"
    placement = {
        "apiVersion": "cluster.open-cluster-management.io/v1beta1",
        "kind": "Placement",
        "metadata": {"name": "participants", "namespace": "open-cluster-management"},
        "spec": {
            "clusterSets": ["global"],
            "predicates": [{"requiredClusterSelector": {"labelSelector": {"matchLabels": {label: "yes"}}}}],
        },
    }
    binding = {
        "apiVersion": "cluster.open-cluster-management.io/v1beta2",
        "kind": "ManagedClusterSetBinding",
        "metadata": {"name": "global", "namespace": "open-cluster-management"},
        "spec": {"clusterSet": "global"},
    }
    strategy = {"type": "Placements", "placements": [{"name": "participants", "namespace": "open-cluster-management"}]}
    for body in (binding, placement):
        await hub.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(body))
    await patch_fleet_add_on(hub, {"spec": {"installStrategy": strategy}})
    try:
        await hub.kubectl(HUB, "label", "managedcluster", spoke, f"{label}=yes")
        await hub.kubectl(
            HUB, "wait", "--for=create", f"managedclusteraddon/{ADD_ON}", f"--namespace={spoke}", TIMEOUT_FLAG
        )
        await hub.kubectl(
            HUB, "wait", "--for=condition=Available", f"managedclusteraddon/{ADD_ON}", f"--namespace={spoke}",
            TIMEOUT_FLAG,
        )  # fmt: skip
        await hub.kubectl(HUB, "label", "managedcluster", spoke, f"{label}-")
        await hub.kubectl(
            HUB, "wait", "--for=delete", f"managedclusteraddon/{ADD_ON}", f"--namespace={spoke}", TIMEOUT_FLAG
        )
    finally:
        await patch_fleet_add_on(hub, {"spec": {"installStrategy": {"type": "Manual", "placements": None}}})
        # OCM disables wherever its Placements do not select, so the other spokes have lost the add-on as well.
        await install.enable(hub, *hub.spokes)


async def patch_fleet_add_on(clusters: Clusters, patch: dict[str, object]) -> None:
    await clusters.kubectl(
        HUB, "patch", "clustermanagementaddon", ADD_ON, "--type=merge", f"--patch={json.dumps(patch)}"
    )


async def test_the_kubeconfig_secret_is_there_for_the_agent(enabled: Clusters) -> None:
    for spoke in enabled.spokes:
        assert {"kubeconfig", "tls.crt", "tls.key"} <= set(await until_secret(enabled, spoke, KUBECONFIG_SECRET))
