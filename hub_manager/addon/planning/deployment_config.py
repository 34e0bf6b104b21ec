"""Decode and validate an AddOnDeploymentConfig, and compute its digest as OCM does.

The module `configuration` decides whether it applies to a cluster.
Source: open-cluster-management.io/api `addon/v1alpha1/types_addondeploymentconfig.go`.
"""

import hashlib
import json
from typing import Final

import msgspec

from federation.api.dns_names import is_dns_label
from federation.api.meta import Struct
from federation.api.ocm.addon import AddOnDeploymentConfig
from federation.kube.resource import Json

SUPPORTED_VARIABLES: Final = frozenset({"LOG_LEVEL"})
"""The customized variables that are set in the agent's environment; a shared configuration may hold others."""

_GO_ESCAPES: Final = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


class AgentVariable(Struct, frozen=True):
    """One customized variable."""

    name: str
    value: str = ""


class AgentToleration(Struct, frozen=True):
    """A taint that the agent's pod tolerates."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class NodePlacement(Struct, frozen=True):
    """The nodes that the agent may run on."""

    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    tolerations: tuple[AgentToleration, ...] = ()


class ImageMirror(Struct, frozen=True):
    """The mirror from which images of a source are pulled."""

    mirror: str = ""
    source: str = ""


class ProxyConfig(Struct, frozen=True):
    """The proxy between the spoke and the hub."""

    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    ca_bundle: bytes = b""


class ResourceRequirements(Struct, frozen=True):
    """Requests and limits as Kubernetes quantities."""

    requests: dict[str, str | int] = msgspec.field(default_factory=dict)
    limits: dict[str, str | int] = msgspec.field(default_factory=dict)


class AgentResources(Struct, frozen=True):
    """Resources of the containers that match `kind:name:container`, each part may be `*`."""

    container_id: str = msgspec.field(name="containerID")
    resources: ResourceRequirements = ResourceRequirements()

    def matches(self, kind: str, name: str, container: str) -> bool:
        """Whether the container ID matches the container."""
        return all(
            wanted in {"*", present}
            for wanted, present in zip(self.container_id.split(":"), (kind, name, container), strict=False)
        )


class Configuration(Struct, frozen=True):
    """The spec of an AddOnDeploymentConfig; the defaults change nothing."""

    customized_variables: tuple[AgentVariable, ...] = ()
    node_placement: NodePlacement | None = None
    registries: tuple[ImageMirror, ...] = ()
    proxy_config: ProxyConfig = ProxyConfig()
    agent_install_namespace: str = ""
    resource_requirements: tuple[AgentResources, ...] = ()

    @property
    def variables(self) -> dict[str, str]:
        """The supported customized variables."""
        return {v.name: v.value for v in self.customized_variables if v.name in SUPPORTED_VARIABLES}

    @property
    def ignored_variables(self) -> tuple[str, ...]:
        """The unsupported customized variables, sorted."""
        return tuple(sorted({v.name for v in self.customized_variables} - SUPPORTED_VARIABLES))

    def image(self, image: str) -> str:
        """Return the image's name at its mirror; the last matching mirror counts.

        Source: addon-framework `pkg/addonfactory/addondeploymentconfig.go`, `OverrideImage`; but a mirror without
        a name is skipped, as the API documents.
        """
        mirrored = image
        for registry in self.registries:
            source, mirror = registry.source.removesuffix("/"), registry.mirror.removesuffix("/")
            if not mirror:
                continue
            if not source:
                mirrored = f"{mirror}/{image.rpartition('/')[2]}"
            elif image.startswith(source):
                mirrored = f"{mirror}{image.removeprefix(source)}"
        return mirrored

    def resources(self, kind: str, name: str, container: str) -> ResourceRequirements | None:
        """Return the container's resources, or None to keep its own; the last match counts."""
        matching = [r.resources for r in self.resource_requirements if r.matches(kind, name, container)]
        return matching[-1] if matching else None


def spec_hash(config: AddOnDeploymentConfig) -> str:
    """Compute the digest of a configuration as OCM does, so that addon-manager recognizes it.

    It is the SHA-256 of Go's `json.Marshal` of the fields other than metadata and status: sorted keys, no spaces, and
    `<`, `>`, `&`, U+2028 and U+2029 escaped. Source: addon-framework `pkg/utils/helpers.go`, `GetSpecHash`.
    """
    text = json.dumps({"spec": config.spec}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.translate(_GO_ESCAPES).encode()).hexdigest()


def decode(spec: Json) -> Configuration | str:
    """Decode the configuration, or return a message that names the invalid field and the remedy."""
    try:
        configuration = msgspec.convert(spec, Configuration)
    except msgspec.ValidationError as error:
        return f"spec: {error}"
    return _problem(configuration) or configuration


def _problem(configuration: Configuration) -> str:
    namespace = configuration.agent_install_namespace
    if namespace and not is_dns_label(namespace):
        return "Set spec.agentInstallNamespace to a DNS label."
    for requirement in configuration.resource_requirements:
        if requirement.container_id.count(":") != 2:
            return f"Set spec.resourceRequirements containerID {requirement.container_id!r} to kind:name:container."
    try:
        configuration.proxy_config.ca_bundle.decode("ascii")
    except UnicodeDecodeError:
        return "Set spec.proxyConfig.caBundle to PEM text."
    return ""
