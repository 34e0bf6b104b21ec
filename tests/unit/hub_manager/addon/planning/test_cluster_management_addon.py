"""The ClusterManagementAddOn: made once, and the administrator's from then on."""

from typing import Any

import msgspec

from federation.api.ocm.addon import ClusterManagementAddOn
from federation.kube.actions import Apply, Patch
from hub_manager.addon.planning.cluster_management_addon import BODY, plan_cluster_management_addon
from hub_manager.addon.planning.deployment_config import spec_hash
from tests.support.builders.addon_objects import ADC, cluster_management_addon, configs_of, deployment_config

CONFIG = deployment_config()


def _adopted(**changes: Any) -> ClusterManagementAddOn:
    raw = {
        "metadata": {
            "name": "federated-learning",
            "uid": "u",
            "resourceVersion": "7",
            "annotations": {"addon.open-cluster-management.io/lifecycle": "addon-manager"},
        },
        "spec": {"supportedConfigs": [{**ADC, "defaultConfig": {"namespace": "ns", "name": "adc"}}]},
        **changes,
    }
    return msgspec.convert(raw, ClusterManagementAddOn)


def test_it_is_made_when_it_is_missing() -> None:
    (action,) = plan_cluster_management_addon(None, {}).actions

    assert isinstance(action, Apply)
    assert action.body == BODY


def test_where_it_is_installed_and_with_what_is_never_written() -> None:
    assert "installStrategy" not in BODY["spec"]
    assert all("defaultConfig" not in supported for supported in BODY["spec"]["supportedConfigs"])


def test_one_that_is_ours_is_left_alone() -> None:
    assert plan_cluster_management_addon(_adopted(), {}).actions == ()


def test_one_that_addon_manager_would_skip_is_put_right() -> None:
    assert [type(a) for a in plan_cluster_management_addon(cluster_management_addon(), {}).actions] == [Apply]


def test_digests_are_filled_in_for_addon_manager_to_roll_out() -> None:
    desired = {"namespace": "ns", "name": "adc"}
    foreign = {"group": "example.org", "resource": "tunings", "desiredConfig": {"name": "t", "specHash": "kept"}}
    condition = {
        "type": "Progressing",
        "status": "True",
        "reason": "Progressing",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {
        "defaultconfigReferences": [{**ADC, "desiredConfig": desired}],
        "installProgressions": [
            {
                "namespace": "ns",
                "name": "all",
                "conditions": [condition],
                "configReferences": [
                    {**ADC, "desiredConfig": desired, "lastAppliedConfig": {**desired, "specHash": "old"}},
                    foreign,
                ],
            }
        ],
    }

    (action,) = plan_cluster_management_addon(_adopted(status=status), configs_of(CONFIG)).actions

    assert isinstance(action, Patch)
    digest = spec_hash(CONFIG)
    assert action.patch["metadata"] == {"uid": "u", "resourceVersion": "7"}
    assert action.patch["status"]["defaultconfigReferences"][0]["desiredConfig"]["specHash"] == digest
    progression = action.patch["status"]["installProgressions"][0]
    assert progression["conditions"] == [condition]
    assert progression["configReferences"][0]["desiredConfig"]["specHash"] == digest
    assert progression["configReferences"][0]["lastAppliedConfig"]["specHash"] == "old"
    assert progression["configReferences"][1] == foreign
