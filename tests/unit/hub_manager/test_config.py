"""The settings of the hub manager, and the errors that keep it from starting."""

from datetime import timedelta

import pytest

from federation.environment import ConfigError
from hub_manager.config import config_from
from hub_manager.federated_learning.settings import RunImages, RunLimits

GOOD = {
    "POD_NAME": "hub-manager-0",
    "AGENT_IMAGE": "registry.example.org:5000/fl/agent:1.2.3",
    "AGGREGATOR_IMAGE": "registry.example.org:5000/fl/aggregator:1.2.3",
}


def test_defaults_are_those_of_production() -> None:
    config = config_from(GOOD)

    assert config.namespace == "federated-learning-system"
    assert config.certificate_lifetime == timedelta(hours=24)
    assert config.kubeconfig is None
    assert config.runs.limits == RunLimits(host_paths=(), cluster_sets=("global",))
    assert config.runs.images.fs_group == 65532


def test_what_runs_may_use_is_the_administrators_to_say() -> None:
    said = {
        "RUN_HOST_PATHS": "/srv/models/*, /mnt/fl",
        "RUN_CLUSTER_SETS": "hospitals,shops-*",
        "AGGREGATOR_FS_GROUP": "none",
    }

    runs = config_from(GOOD | said).runs

    assert runs.limits == RunLimits(host_paths=("/srv/models/*", "/mnt/fl"), cluster_sets=("hospitals", "shops-*"))
    assert runs.images == RunImages(aggregator=GOOD["AGGREGATOR_IMAGE"], fs_group=None)


@pytest.mark.parametrize("image", ["", "agent", "agent:latest", "registry:5000/agent", "agent:1 2", "agent@sha256:ab"])
def test_an_image_that_is_not_pinned_is_refused(image: str) -> None:
    with pytest.raises(ConfigError, match="AGENT_IMAGE"):
        config_from(GOOD | {"AGENT_IMAGE": image})


def test_an_image_by_digest_is_pinned() -> None:
    image = "agent@sha256:" + "0" * 64

    assert config_from(GOOD | {"AGENT_IMAGE": image}).agent_image == image


def test_everything_wrong_is_named_at_once() -> None:
    wrong = {
        "PORT": "0",
        "LOG_LEVEL": "loud",
        "CERTIFICATE_LIFETIME_SECONDS": "600",
        "POD_NAMESPACE": "A",
        "RUN_HOST_PATHS": "relative",
        "RUN_CLUSTER_SETS": "A",
        "AGGREGATOR_FS_GROUP": "root",
    }

    with pytest.raises(ConfigError) as caught:
        config_from(wrong)

    for name in (*wrong, *GOOD):
        assert name in str(caught.value)
