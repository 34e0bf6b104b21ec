"""Render the manifests of one cluster's agent: the templates with this cluster's fields set.

Pure. A value from an administrator or a cluster only becomes the value of a field that is named here, so it cannot add
a key or an object.
"""

import copy
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from federation.api.identity import TRUST_BUNDLE_KEY
from federation.api.ocm.addon import DEFAULT_INSTALL_NAMESPACE
from federation.kube.resource import Json
from hub_manager.addon.planning.deployment_config import Configuration
from hub_manager.addon.planning.templates import ALWAYS, NAMESPACE, PROXY_CA, Templates

PROXY_CA_KEY: Final = "ca-bundle.crt"
PROXY_CA_FOLDER: Final = "/managed/proxy-ca"
ORPHAN_ANNOTATION: Final = "addon.open-cluster-management.io/deletion-orphan"
"""Marks objects that stay on the spoke when the add-on is disabled, as in addon-framework."""

_NAMESPACED: Final = frozenset({"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "NetworkPolicy", "Deployment"})


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """The values in which the agents of clusters differ."""

    cluster: str
    namespace: str
    """The install namespace on the spoke."""
    image: str
    """The agent's image before mirrors are applied."""
    trust_bundle: str
    """PEM text of the certificate authorities."""
    configuration: Configuration


def render(templates: Templates, facts: AgentFacts) -> tuple[Json, ...]:
    """Render the manifests in the order in which a work agent must apply them."""
    objects = {name: copy.deepcopy(templates.objects[name]) for name in (*ALWAYS, NAMESPACE, PROXY_CA)}
    for manifest in objects.values():
        _place(manifest, facts.namespace)
    objects[NAMESPACE]["metadata"]["name"] = facts.namespace
    objects["trust-bundle"]["data"] = {TRUST_BUNDLE_KEY: facts.trust_bundle}
    objects[PROXY_CA]["data"] = {PROXY_CA_KEY: facts.configuration.proxy_config.ca_bundle.decode("ascii")}
    _fill_deployment(objects["deployment"], facts)

    first = (objects[NAMESPACE],) if facts.namespace != DEFAULT_INSTALL_NAMESPACE else ()
    proxy = (objects[PROXY_CA],) if _has_proxy_ca(facts.configuration) else ()
    definitions = tuple(_orphaned(definition) for definition in templates.definitions)
    return (*first, *definitions, *proxy, *(objects[name] for name in ALWAYS))


def _orphaned(definition: Json) -> Json:
    """Mark the definition as orphaned on deletion: deleting it would delete every object of the site."""
    kept = copy.deepcopy(definition)
    kept["metadata"].setdefault("annotations", {})[ORPHAN_ANNOTATION] = ""
    return kept


def _place(manifest: Json, namespace: str) -> None:
    if manifest["kind"] in _NAMESPACED:
        manifest["metadata"]["namespace"] = namespace
    for subject in manifest.get("subjects", ()):
        subject["namespace"] = namespace


def _fill_deployment(deployment: Json, facts: AgentFacts) -> None:
    configuration = facts.configuration
    pod = deployment["spec"]["template"]["spec"]
    for container in pod["containers"]:
        container["image"] = configuration.image(facts.image)
        _set_environment(container, _environment(facts))
        wanted = configuration.resources("deployments", deployment["metadata"]["name"], container["name"])
        if wanted is not None:
            container["resources"] = msgspec.to_builtins(wanted)
    if configuration.node_placement is not None:
        pod["nodeSelector"] = dict(configuration.node_placement.node_selector)
        pod["tolerations"] = [msgspec.to_builtins(t) for t in configuration.node_placement.tolerations]
    if _has_proxy_ca(configuration):
        _mount_proxy_ca(pod)


def _environment(facts: AgentFacts) -> dict[str, str]:
    proxy = facts.configuration.proxy_config
    environment = facts.configuration.variables | {
        "CLUSTER_NAME": facts.cluster,
        "INSTALL_NAMESPACE": facts.namespace,
    }
    for name, value in (
        ("HTTP_PROXY", proxy.http_proxy),
        ("HTTPS_PROXY", proxy.https_proxy),
        ("NO_PROXY", proxy.no_proxy),
    ):
        if value:
            # Programs differ in which of the two they read; OCM's template add-ons set both.
            environment |= {name: value, name.lower(): value}
    if _has_proxy_ca(facts.configuration):
        environment["CA_BUNDLE_FILE_PATH"] = f"{PROXY_CA_FOLDER}/{PROXY_CA_KEY}"
    return environment


def _set_environment(container: Json, environment: dict[str, str]) -> None:
    present: list[dict[str, Any]] = container.setdefault("env", [])
    kept = [variable for variable in present if variable["name"] not in environment]
    container["env"] = kept + [{"name": name, "value": environment[name]} for name in sorted(environment)]


def _has_proxy_ca(configuration: Configuration) -> bool:
    proxy = configuration.proxy_config
    return bool(proxy.ca_bundle) and bool(proxy.http_proxy or proxy.https_proxy)


def _mount_proxy_ca(pod: Json) -> None:
    pod["volumes"].append({"name": "proxy-ca", "configMap": {"name": "federated-learning-proxy-ca"}})
    for container in pod["containers"]:
        container["volumeMounts"].append({"name": "proxy-ca", "mountPath": PROXY_CA_FOLDER, "readOnly": True})
