"""The hub manager's settings, read and validated once from the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from federation.environment import LABEL, NAME, Environment
from federation.logging import LogLevel
from hub_manager.federated_learning.settings import RunImages, RunLimits, RunSettings

_IMAGE: Final = re.compile(r"[\w./:-]+?(?P<tag>:[\w][\w.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?", re.ASCII)
_FOLDERS: Final = re.compile(r"(/[^/,]+)+")
_SETS: Final = re.compile(r"[-a-z0-9.*]{1,253}")
_GROUP: Final = re.compile(r"none|[1-9][0-9]{0,8}")

SHORTEST_CERTIFICATE: Final = timedelta(hours=1)
"""A klusterlet checks every five minutes and renews in the last fifth of a lifetime; a shorter one risks a gap."""


@dataclass(frozen=True, slots=True)
class HubManagerConfig:
    """Settings of the hub manager's own deployment and of what it deploys."""

    namespace: str
    """The manager's namespace, with its Lease, the CA's Secret and the trust bundle."""
    identity: str
    """The name under which it holds the Lease."""
    agent_image: str
    """The image of the spokes' agent, with a tag other than `latest` or a digest."""
    templates: Path
    """The folder that contains `agent/` and `crds/`."""
    certificate_lifetime: timedelta
    authority_secret: str
    """A Secret of type `kubernetes.io/tls` with the administrator's CA, or `""` for one that the manager creates."""
    runs: RunSettings
    """Settings that are the same for every run."""
    kubeconfig: Path | None
    """For a manager that runs outside the hub; None to use the pod's service account."""
    port: int
    log_level: LogLevel


def config_from(variables: Mapping[str, str]) -> HubManagerConfig:
    """Read the settings from environment variables.

    Raises:
        ConfigError: One or more settings are missing or invalid.
    """
    environment = Environment(variables)
    secret = environment.optional("AUTHORITY_SECRET")
    if secret and not NAME.fullmatch(secret):
        environment.refuse("AUTHORITY_SECRET", "set the name of a Secret in the manager's namespace")
    kubeconfig = environment.optional("KUBECONFIG")
    shortest = int(SHORTEST_CERTIFICATE.total_seconds())
    config = HubManagerConfig(
        namespace=environment.text("POD_NAMESPACE", "federated-learning-system", LABEL, "set the manager's namespace"),
        identity=environment.text("POD_NAME", "", NAME, "set the pod's name"),
        agent_image=_image(environment, "AGENT_IMAGE"),
        templates=Path(environment.optional("TEMPLATES") or "addon-templates"),
        certificate_lifetime=timedelta(
            seconds=environment.number("CERTIFICATE_LIFETIME_SECONDS", 86_400, shortest, 31_536_000)
        ),
        authority_secret=secret,
        runs=_runs(environment),
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        port=environment.number("PORT", 8080, 1, 65535),
        log_level=environment.log_level(),
    )
    environment.check()
    return config


def _runs(environment: Environment) -> RunSettings:
    remedy = "set a group ID, or none if the cluster assigns one to volumes, as OpenShift does"
    group = environment.text("AGGREGATOR_FS_GROUP", "65532", _GROUP, remedy)
    folders = "set folders of the hub's nodes, separated by commas; * matches any characters"
    sets = "set names of ManagedClusterSets, separated by commas; * matches any characters"
    return RunSettings(
        images=RunImages(
            aggregator=_image(environment, "AGGREGATOR_IMAGE"),
            fs_group=int(group) if group.isdecimal() else None,
        ),
        limits=RunLimits(
            host_paths=environment.words("RUN_HOST_PATHS", "", _FOLDERS, folders),
            cluster_sets=environment.words("RUN_CLUSTER_SETS", "global", _SETS, sets),
        ),
    )


def _image(environment: Environment, name: str) -> str:
    image = environment.optional(name)
    parts = _IMAGE.fullmatch(image)
    if parts is None or (parts["digest"] is None and parts["tag"] in {None, ":latest"}):
        environment.refuse(name, "set an image with a digest, or with a tag other than latest")
    return image
