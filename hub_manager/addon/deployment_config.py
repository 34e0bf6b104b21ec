"""What an AddOnDeploymentConfig says: its fields as values, checked, and its digest as OCM computes it.

Whether it is in force for a cluster is `configuration`'s business.
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
"""The customized variables that reach the agent's environment; a shared configuration may hold others' as well."""

_GO_ESCAPES: Final = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


class Variable(Struct, frozen=True):
    """One customized variable."""

    name: str
    value: str = ""


class Toleration(Struct, frozen=True):
    """A taint that the agent's pod tolerates."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class NodePlacement(Struct, frozen=True):
    """The nodes that the agent may run on."""

    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()


class ImageMirror(Struct, frozen=True):
    """Where images of a source are pulled from instead."""

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


class ContainerResources(Struct, frozen=True):
    """Resources of the containers that match `kind:name:container`, each part possibly `*`."""

    container_id: str = msgspec.field(name="containerID")
    resources: ResourceRequirements = ResourceRequirements()

    def matches(self, kind: str, name: str, container: str) -> bool:
        """Whether the container is meant."""
        return all(
            wanted in {"*", present}
            for wanted, present in zip(self.container_id.split(":"), (kind, name, container), strict=False)
        )


class Configuration(Struct, frozen=True):
    """What an AddOnDeploymentConfig asks for; with every default it asks for nothing."""

    customized_variables: tuple[Variable, ...] = ()
    node_placement: NodePlacement | None = None
    registries: tuple[ImageMirror, ...] = ()
    proxy_config: ProxyConfig = ProxyConfig()
    agent_install_namespace: str = ""
    resource_requirements: tuple[ContainerResources, ...] = ()

    @property
    def variables(self) -> dict[str, str]:
        """The customized variables that the agent reads."""
        return {v.name: v.value for v in self.customized_variables if v.name in SUPPORTED_VARIABLES}

    @property
    def ignored_variables(self) -> tuple[str, ...]:
        """The customized variables that it does not read, sorted."""
        return tuple(sorted({v.name for v in self.customized_variables} - SUPPORTED_VARIABLES))

    def image(self, image: str) -> str:
        """The image's name at its mirror; of several that match, the last counts.

        As addon-framework `pkg/addonfactory/addondeploymentconfig.go`, `OverrideImage`, does it, but that a mirror
        without a name is left out, as the API's documentation says.
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
        """The container's resources, or None to leave them; of several that match, the last counts."""
        matching = [r.resources for r in self.resource_requirements if r.matches(kind, name, container)]
        return matching[-1] if matching else None


def spec_hash(config: AddOnDeploymentConfig) -> str:
    """The digest of a configuration as OCM computes it, so that addon-manager recognises it.

    SHA-256 of Go's `json.Marshal` of the fields beside metadata and status: sorted keys, no spaces, and `<`, `>`,
    `&`, U+2028 and U+2029 escaped. Source: addon-framework `pkg/utils/helpers.go`, `GetSpecHash`.
    """
    text = json.dumps({"spec": config.spec}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.translate(_GO_ESCAPES).encode()).hexdigest()


def decode(spec: Json) -> Configuration | str:
    """The configuration, or what is wrong with it: the field and the remedy."""
    try:
        configuration = msgspec.convert(spec, Configuration)
    except msgspec.ValidationError as error:
        return f"spec: {error}"
    return _wrong(configuration) or configuration


def _wrong(configuration: Configuration) -> str:
    namespace = configuration.agent_install_namespace
    if namespace and not is_dns_label(namespace):
        return "spec.agentInstallNamespace is no namespace's name."
    for requirement in configuration.resource_requirements:
        if requirement.container_id.count(":") != 2:
            return f"spec.resourceRequirements: containerID {requirement.container_id!r} is not kind:name:container."
    try:
        configuration.proxy_config.ca_bundle.decode("ascii")
    except UnicodeDecodeError:
        return "spec.proxyConfig.caBundle is not PEM text."
    return ""
