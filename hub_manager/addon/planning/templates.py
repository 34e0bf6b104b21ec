"""Load the templates of the agent's manifests from `addon-templates/`, once, at start.

The files are complete Kubernetes objects; fields that differ between clusters are empty. Their text is never edited:
`agent_manifests` sets fields of the parsed structures.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from federation.kube.resource import Json

ALWAYS: Final = (
    "service-account",
    "cluster-role",
    "cluster-role-binding",
    "role",
    "role-binding",
    "work-role",
    "trust-bundle",
    "network-policy",
    "collaborators-network-policy",
    "deployment",
)
"""The objects for every cluster, in the order in which they are applied."""

NAMESPACE: Final = "namespace"
PROXY_CA: Final = "proxy-ca"


class BrokenTemplate(ValueError):
    """A file is missing or is not one Kubernetes object; a problem of the image, not of the configuration."""


@dataclass(frozen=True, slots=True)
class Templates:
    """The objects by file name without suffix, and the custom resource definitions in the order of their files."""

    objects: dict[str, Json]
    definitions: tuple[Json, ...]


def load_templates(folder: Path) -> Templates:
    """Load the templates of a folder that contains `agent/*.yaml` and `crds/*.yaml`.

    Raises:
        BrokenTemplate: A file is missing, or does not contain exactly one object with kind and name.
    """
    objects = {name: _one_object(folder / "agent" / f"{name}.yaml") for name in (*ALWAYS, NAMESPACE, PROXY_CA)}
    definitions = tuple(_one_object(path) for path in sorted((folder / "crds").glob("*.yaml")))
    return Templates(objects=objects, definitions=definitions)


def _one_object(path: Path) -> Json:
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BrokenTemplate(f"{path}: {error}") from error
    match document:
        case {"apiVersion": str(), "kind": str(), "metadata": {"name": str()}}:
            return dict(document)
        case _:
            raise BrokenTemplate(f"{path}: not one Kubernetes object with apiVersion, kind and metadata.name")
