"""The works by which one cluster's agent is deployed: what they hold, and how they are kept right."""

import json
from typing import Any

import pytest

from federation.api.ocm.addon import AddOnDeploymentConfig
from federation.kube.actions import Apply
from hub_manager.addon.planning.plan import plan_addon
from tests.support.builders.addon_objects import (
    BUNDLE,
    CONFIGURED,
    IMAGE,
    World,
    chosen,
    configs_of,
    deployment_config,
    raw_addon,
    reference,
    settings,
)


def _enabled_with(config: AddOnDeploymentConfig, **spec: Any) -> World:
    status = {"conditions": [CONFIGURED], "configReferences": [reference(config)]}
    return World(addon=raw_addon(configs=[chosen(config)], status=status, **spec), configs=configs_of(config))


def test_the_work_has_the_fields_that_ocm_reads() -> None:
    config = deployment_config(agentInstallNamespace="fl")
    world = _enabled_with(config)

    world.settle()

    work = world.works()[0]
    assert work["metadata"]["labels"] == {"open-cluster-management.io/addon-name": "federated-learning"}
    digests = json.loads(work["metadata"]["annotations"]["open-cluster-management.io/config-spec-hash"])
    recorded = world.status()["configReferences"][0]["desiredConfig"]["specHash"]
    assert digests == {"addondeploymentconfigs.addon.open-cluster-management.io/ns/adc": recorded}
    options = {o["resourceIdentifier"]["resource"]: o for o in work["spec"]["manifestConfigs"]}
    assert options["namespaces"]["updateStrategy"] == {"type": "CreateOnly"}
    assert options["deployments"]["feedbackRules"] == [{"type": "WellKnownStatus"}]


def test_what_holds_the_sites_own_objects_or_keeps_collaborators_in_outlives_the_addon() -> None:
    config = deployment_config(agentInstallNamespace="fl")
    world = _enabled_with(config)

    world.settle()

    rules = world.works()[0]["spec"]["deleteOption"]["selectivelyOrphans"]["orphaningRules"]
    kept = {(r["resource"], r["name"]) for r in rules}
    definitions = {m["metadata"]["name"] for m in world.manifests() if m["kind"] == "CustomResourceDefinition"}
    assert kept == {
        ("namespaces", "fl"),
        ("networkpolicies", "federated-learning.collaborators"),
        *(("customresourcedefinitions", name) for name in definitions),
    }


@pytest.mark.parametrize("field", ["manifest", "digest", "owner", "executor"])
def test_a_work_that_was_changed_is_put_right(field: str) -> None:
    world = World()
    world.settle()
    work = world.works()[0]
    match field:
        case "manifest":
            work["spec"]["workload"]["manifests"][0]["metadata"]["name"] = "evil"
        case "digest":
            work["metadata"]["annotations"] = {}
        case "owner":
            work["metadata"]["ownerReferences"] = []
        case _:
            work["spec"]["executor"] = {"subject": {"type": "ServiceAccount"}}

    actions = plan_addon(world.observe(), settings()).actions

    assert [type(a) for a in actions] == [Apply]


def test_a_superfluous_work_is_removed() -> None:
    world = World()
    world.settle()
    extra = {"metadata": {"name": "addon-federated-learning-deploy-7", "namespace": "c1", "uid": "u"}, "spec": {}}
    world.objects["ManifestWork", "addon-federated-learning-deploy-7"] = extra

    world.settle()

    assert [w["metadata"]["name"] for w in world.works()] == ["addon-federated-learning-deploy-0"]


def test_defaults_that_the_server_adds_do_not_count_as_a_change() -> None:
    world = World()
    world.settle()
    for option in world.works()[0]["spec"]["manifestConfigs"]:
        option["feedbackScrapeType"] = "Poll"

    assert plan_addon(world.observe(), settings()).actions == ()


def test_manifests_applied_follows_what_the_spoke_reports() -> None:
    world = World()
    world.settle()
    assert world.condition("ManifestApplied") is None

    world.report("False", message="forbidden")
    world.settle()
    refused = world.condition("ManifestApplied")
    world.report("True", generation=0)
    world.settle()
    stale = world.condition("ManifestApplied")
    world.report("True")
    world.settle()
    applied = world.condition("ManifestApplied")

    assert refused is not None
    assert (refused["status"], refused["reason"]) == ("False", "AddonManifestAppliedFailed")
    assert "Deployment x (forbidden)" in refused["message"]
    assert stale is None
    assert applied is not None
    assert (applied["status"], applied["reason"]) == ("True", "AddonManifestApplied")


def test_nothing_is_deployed_before_there_is_a_trust_bundle() -> None:
    world = World(trust_bundle="")

    world.settle()
    assert world.works() == []
    assert world.condition("RegistrationApplied") is not None
    world.trust_bundle = BUNDLE
    world.settle()

    assert world.manifest("ConfigMap", "trust-bundle")["data"] == {"ca.crt": BUNDLE}


def test_a_new_trust_bundle_reaches_the_work() -> None:
    world = World()
    world.settle()
    world.trust_bundle = BUNDLE * 2

    world.settle()

    assert world.manifest("ConfigMap", "trust-bundle")["data"]["ca.crt"] == BUNDLE * 2


def test_the_image_is_the_managers() -> None:
    world = World()
    world.settle()

    containers = world.manifest("Deployment")["spec"]["template"]["spec"]["containers"]

    assert [c["image"] for c in containers] == [IMAGE]


def test_install_namespace_of_the_addon_is_honoured() -> None:
    world = World(addon=raw_addon(installNamespace="site-fl"))

    world.settle()

    assert world.status()["namespace"] == "site-fl"
    assert world.manifest("Namespace")["metadata"]["name"] == "site-fl"
    places = {m["metadata"].get("namespace") for m in world.manifests()} - {None}
    assert places == {"site-fl"}
