"""Manifests as Python values: read from YAML, changed, and written as JSON, never templated as text."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
FOLDER = Path(__file__).parent / "manifests"


def read(*paths: Path) -> list[Json]:
    """Return all documents of the files, in order."""
    return [document for path in paths for document in parse(path.read_text())]


def parse(text: str) -> list[Json]:
    """Return all documents of a YAML text, in order."""
    return [document for document in yaml.safe_load_all(text) if document]


def text(objects: Iterable[Json]) -> str:
    """Return the objects as one JSON document for `kubectl apply`."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def with_images(objects: Iterable[Json], images: Mapping[str, str]) -> list[Json]:
    """Return a copy with images replaced by those in `images`, found by name without registry and tag.

    Replaces the images of Deployments' containers, and the environment variables in which OCM passes image names.
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
