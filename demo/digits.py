"""Run the example on a fleet with the steps of its README: the sites' administrators', then the ML engineer's."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from demo import images
from demo.images import DIGITS, REPOSITORY
from demo.install import INSTALL_NAMESPACE
from fleet import manifest, volumes
from fleet.command import run
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.images import Image
from fleet.layout import HUB
from fleet.manifest import Json
from fleet.waiting import TIMEOUT_FLAG

NAME: Final = "digits"
"""Name of the run, its namespace, and the Dataset of each site."""
_KUBECTL_FL: Final = str(Path(sys.executable).with_name("kubectl-fl"))
_PYTHON: Final = REPOSITORY / ".venv-openfl" / "bin" / "python"
"""Environment with the packages of the collaborator's image (`make test-openfl` creates it)."""


@dataclass(frozen=True, slots=True)
class HeldOutAccuracy:
    """Accuracies on the held-out digits."""

    federation: float
    alone: dict[str, float]
    """By the name of the site."""


async def make_shards(folder: Path, sites: tuple[str, ...]) -> None:
    """Create a shard for each site and a held-out set."""
    await _script("make_shards.py", str(folder), *sites)


async def publish(fleet: Fleet | ExistingFleet, spoke: str, shards: Path, **terms: Any) -> None:
    """Copy a site's shard to its node and create its Dataset, with these fields of the policy changed."""
    volume = await volumes.place_data(fleet, spoke, NAME, INSTALL_NAMESPACE, shards / spoke)
    offered = dataset(volume, **terms)
    await fleet.kubectl(spoke, "apply", "-f", "-", stdin=manifest.text([offered]))


async def submit(fleet: Fleet | ExistingFleet, run: Json) -> None:
    """Delete an earlier run of this name, then create the run, its namespace and a volume for its model."""
    namespace, claim = run["metadata"]["namespace"], run["spec"]["server"]["storage"]["name"]
    await end(fleet, run)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await fleet.kubectl(HUB, "apply", "-f", "-", stdin=manifest.text([body]))
    await volumes.offer_volume(fleet, namespace, claim)
    await fleet.kubectl(HUB, "apply", "-f", "-", stdin=manifest.text([run]))


async def end(fleet: Fleet | ExistingFleet, run: Json) -> None:
    """Delete a run, and the volume claim with its model."""
    name, namespace = run["metadata"]["name"], run["metadata"]["namespace"]
    claim = run["spec"]["server"]["storage"]["name"]
    for thing in (f"federatedlearning/{name}", f"persistentvolumeclaim/{claim}"):
        await fleet.kubectl(HUB, "delete", thing, f"--namespace={namespace}", "--ignore-not-found", TIMEOUT_FLAG)


async def load_collaborator(fleet: Fleet | ExistingFleet) -> Image:
    """Build the example's image and load it on every node: hub and sites run it."""
    image = await images.build_digits(fleet.layout)
    await fleet.load_image(image)
    return image


async def fetch_model(fleet: Fleet | ExistingFleet, out: Path, name: str = NAME, namespace: str = NAME) -> None:
    """Download the model of a run with `kubectl fl`.

    Raises:
        CommandFailed: The model is missing or does not match its digest.
    """
    await run(*kubectl_fl(fleet, "model", name, f"--namespace={namespace}", "--output", str(out)))


def kubectl_fl(fleet: Fleet | ExistingFleet, *words: str) -> tuple[str, ...]:
    """Return the command line of `kubectl fl` on the hub."""
    return ("env", f"KUBECTL={fleet.kubectl_program}", _KUBECTL_FL, *words, f"--kubeconfig={fleet.kubeconfig(HUB)}")


async def evaluate(shards: Path, model: Path) -> HeldOutAccuracy:
    """Evaluate the federated model and the models that each site trains alone."""
    lines = [json.loads(line) for line in (await _script("evaluate.py", str(shards), str(model))).splitlines()]
    found = {line["model"]: float(line["accuracy"]) for line in lines}
    return HeldOutAccuracy(found.pop("federation"), found)


def dataset(volume: Json, **terms: Any) -> Json:
    """Return the example's Dataset with that volume, this fleet's images and these changes to its policy."""
    (body,) = manifest.read(DIGITS / "dataset.yaml")
    body["spec"]["volume"] = volume
    body["spec"]["policy"] |= {"images": ["localhost/fleet/"], **terms}
    return body


def federated_learning(image: str, name: str = NAME, namespace: str = NAME) -> Json:
    """Return the example's run with that image."""
    (body,) = manifest.read(DIGITS / "federatedlearning.yaml")
    body["metadata"] = {"name": name, "namespace": namespace}
    body["spec"]["client"]["image"] = image
    return body


async def _script(name: str, *arguments: str) -> str:
    """Run a script of the example with its folder and the runtime's package on the import path."""
    return await run(
        *("env", f"PYTHONPATH={DIGITS}:{REPOSITORY}", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"),
        *(str(_PYTHON), str(DIGITS / name), *arguments),
        deadline=300,
    )
