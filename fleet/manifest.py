"""Manifests as structures: read from YAML, changed as values, written as JSON. Nothing is pasted into text."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
FOLDER = Path(__file__).parent / "manifests"


def read(*paths: Path) -> list[Json]:
    """All documents of the files, in order."""
    return [document for path in paths for document in parse(path.read_text())]


def parse(text: str) -> list[Json]:
    """All documents of a YAML text, in order."""
    return [document for document in yaml.safe_load_all(text) if document]


def text(objects: Iterable[Json]) -> str:
    """The objects as one JSON document that `kubectl apply` reads."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def with_images(objects: Iterable[Json], images: Mapping[str, str]) -> list[Json]:
    """The objects with each image replaced by the one that `images` has for its name without registry and tag.

    Applies to the containers of Deployments, and to their environment, where OCM hands image names on.
    """

    def replaced(reference: str) -> str:
        return images.get(reference.rpartition("/")[2].partition(":")[0], reference)

    result: list[Json] = json.loads(json.dumps(list(objects)))
    for deployment in (o for o in result if o["kind"] == "Deployment"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            container["image"] = replaced(container["image"])
            for variable in container.get("env", []):
                if "value" in variable:
                    variable["value"] = replaced(variable["value"])
    return result
