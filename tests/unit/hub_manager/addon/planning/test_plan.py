"""The add-on's plan for one cluster, from enabling to removal."""

import pytest

from federation.kube.actions import Delete, Patch
from hub_manager.addon.planning.plan import plan_addon
from tests.support.builders.addon_objects import (
    CONFIGURED,
    NOW,
    World,
    cluster,
    cluster_management_addon,
    configs_of,
    deployment_config,
    raw_addon,
    reference,
    settings,
)


def test_enabling_registers_grants_and_deploys() -> None:
    world = World()

    world.settle()

    assert world.status()["supportedConfigs"] == [
        {"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs"}
    ]
    assert [r["signerName"] for r in world.status()["registrations"]] == [
        "kubernetes.io/kube-apiserver-client",
        "federation-ai.open-cluster-management.io/collaborator",
    ]
    assert world.status()["registrations"][1]["subject"] == {"user": "c1", "groups": ["federated-learning"]}
    assert world.status()["namespace"] == "open-cluster-management-agent-addon"
    assert world.status()["healthCheck"] == {"mode": "Lease"}
    registered = world.condition("RegistrationApplied")
    assert registered is not None
    assert (registered["status"], registered["reason"]) == ("True", "SetPermissionApplied")
    assert [w["metadata"]["name"] for w in world.works()] == ["addon-federated-learning-deploy-0"]


def test_supported_configurations_are_written_before_anything_else() -> None:
    actions = plan_addon(World().observe(), settings()).actions

    assert [type(a) for a in actions] == [Patch]


def test_the_agents_rights_come_before_its_registration_and_that_before_its_deployment() -> None:
    world = World()
    world.carry_out(plan_addon(world.observe(), settings()).actions[0])

    actions = plan_addon(world.observe(), settings()).actions

    order = [a.kind.kind for a in actions]
    assert order == ["Role", "RoleBinding", "AddOnPlacementScore", "ManagedClusterAddOn", "ManifestWork"]


def test_nothing_happens_before_ocm_has_adopted_the_addon() -> None:
    orphan = raw_addon()
    orphan["metadata"]["ownerReferences"] = []

    assert plan_addon(World(addon=orphan).observe(), settings()).actions == ()
    assert plan_addon(World(cluster_management_addon=None).observe(), settings()).actions == ()


def test_conditions_of_others_survive() -> None:
    others = {**CONFIGURED, "type": "Available", "message": ""}
    world = World(addon=raw_addon(status={"conditions": [CONFIGURED, others], "kubeClientDriver": "csr"}))

    world.settle()

    assert others in world.status()["conditions"]
    assert CONFIGURED in world.status()["conditions"]
    assert world.status()["kubeClientDriver"] == "csr"


def test_registrations_rewritten_by_the_spoke_are_put_back() -> None:
    world = World()
    world.settle()
    honest = world.status()["registrations"]
    world.status()["registrations"] = [
        {"signerName": "kubernetes.io/kube-apiserver-client", "subject": {"user": "evil", "groups": ["admins"]}}
    ]

    world.settle()

    assert world.status()["registrations"] == honest


def test_the_token_driver_gets_the_subject_that_the_klusterlet_writes() -> None:
    world = World(addon=raw_addon(status={"conditions": [CONFIGURED], "kubeClientDriver": "token"}))

    world.settle()

    subject = world.status()["registrations"][0]["subject"]
    assert subject == {"user": "system:serviceaccount:c1:federated-learning-agent"}
    assert world.objects["RoleBinding", "open-cluster-management:federated-learning:agent"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "federated-learning-agent", "namespace": "c1"}
    ]


def test_the_agent_may_touch_its_own_score_and_nothing_else() -> None:
    world = World()
    world.settle()

    role = world.objects["Role", "open-cluster-management:federated-learning:agent"]
    for rule in role["rules"]:
        assert rule["apiGroups"] == ["cluster.open-cluster-management.io"]
        assert rule["resourceNames"] == ["federated-learning"]
        assert not {"create", "delete", "*"} & set(rule["verbs"])
        assert {r.partition("/")[0] for r in rule["resources"]} == {"addonplacementscores"}
    binding = world.objects["RoleBinding", "open-cluster-management:federated-learning:agent"]
    assert [s["name"] for s in binding["subjects"]] == [
        "system:open-cluster-management:cluster:c1:addon:federated-learning"
    ]


def test_a_widened_role_is_narrowed_again() -> None:
    world = World()
    world.settle()
    key = ("Role", "open-cluster-management:federated-learning:agent")
    world.objects[key]["rules"].append({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})

    world.settle()

    assert len(world.objects[key]["rules"]) == 2


def test_a_binding_to_another_role_is_replaced() -> None:
    world = World()
    world.settle()
    key = ("RoleBinding", "open-cluster-management:federated-learning:agent")
    world.objects[key]["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}

    world.settle()

    assert world.objects[key]["roleRef"]["kind"] == "Role"


def test_everything_on_the_hub_goes_with_the_addon() -> None:
    world = World()
    world.settle()

    owners = [o["metadata"]["ownerReferences"][0] for o in world.objects.values()]

    assert {(o["kind"], o["uid"], o["controller"]) for o in owners} == {("ManagedClusterAddOn", "addon-uid", True)}


@pytest.mark.parametrize("state", ["deleting", "gone"])
def test_disabling_takes_the_rights_first_and_leaves_nothing(state: str) -> None:
    world = World()
    world.settle()
    if state == "gone":
        world.addon = None
    else:
        assert world.addon is not None
        world.addon["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"

    actions = plan_addon(world.observe(), settings()).actions

    assert all(isinstance(a, Delete) for a in actions)
    assert actions[0].kind.kind == "RoleBinding"
    world.settle()
    assert world.objects == {}


def test_works_of_a_partitioned_spoke_are_deleted_once_and_waited_for() -> None:
    world = World()
    world.settle()
    world.works()[0]["metadata"]["finalizers"] = ["cluster.open-cluster-management.io/manifest-work-cleanup"]
    world.addon = None

    world.settle()

    assert [w["metadata"]["deletionTimestamp"] for w in world.works()] == ["2026-01-02T03:04:05Z"]


def test_enabling_again_waits_for_the_old_work_to_be_undone() -> None:
    world = World()
    world.settle()
    world.works()[0]["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    world.addon = raw_addon(uid="second-uid")

    world.settle()
    assert world.works()[0]["metadata"]["ownerReferences"][0]["uid"] == "addon-uid"
    del world.objects["ManifestWork", "addon-federated-learning-deploy-0"]
    world.settle()

    assert {o["metadata"]["ownerReferences"][0]["uid"] for o in world.objects.values()} == {"second-uid"}


def test_works_that_are_not_the_agents_are_left_alone() -> None:
    world = World()
    world.settle()
    foreign = {"metadata": {"name": "run-a", "namespace": "c1", "uid": "u"}, "spec": {}}
    world.objects["ManifestWork", "run-a"] = foreign
    world.addon = None

    world.settle()

    assert list(world.objects) == [("ManifestWork", "run-a")]


@pytest.mark.parametrize(
    "gone",
    [None, cluster(accepted=False), cluster(deletionTimestamp="2026-01-02T03:04:05Z")],
    ids=["removed", "not-accepted", "deleting"],
)
def test_a_cluster_that_is_not_accepted_has_no_rights_and_gets_nothing_new(gone: object) -> None:
    world = World()
    world.settle()
    world.cluster = gone  # type: ignore[assignment]

    world.settle()

    assert {kind for kind, _ in world.objects} == {"ManifestWork", "AddOnPlacementScore"}


def test_the_condition_keeps_its_time_while_its_status_stays() -> None:
    world = World()
    world.settle()
    first = world.condition("ConfigurationAccepted")
    assert first is not None
    config = deployment_config(customizedVariables=[{"name": "OTHERS", "value": "x"}])
    assert world.addon is not None
    world.configs = configs_of(config)
    world.cluster_management_addon = cluster_management_addon(defaults="adc")
    world.status()["configReferences"] = [reference(config)]
    later = NOW.replace(year=2027)
    for action in plan_addon(world.observe(later), settings()).actions:
        world.carry_out(action)

    second = world.condition("ConfigurationAccepted")

    assert second is not None
    assert second["reason"] == "VariablesIgnored"
    assert "OTHERS" in second["message"]
    assert second["lastTransitionTime"] == first["lastTransitionTime"]
