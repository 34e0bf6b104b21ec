"""The example's run on a fleet, step by step as its README has it: the sites' administrators, then the ML engineer."""

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
"""Of the run, of its namespace, and of the Dataset that each site offers."""
_KUBECTL_FL: Final = str(Path(sys.executable).with_name("kubectl-fl"))
_PYTHON: Final = REPOSITORY / ".venv-openfl" / "bin" / "python"
"""With what the collaborator's image holds (`make test-openfl` makes it)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accuracies on the held-out digits."""

    federation: float
    alone: dict[str, float]
    """By the site's name."""


async def make_shards(folder: Path, sites: tuple[str, ...]) -> None:
    """Plays the sites' administrators: a shard for each, and a held-out set for nobody."""
    await _script("make_shards.py", str(folder), *sites)


async def publish(fleet: Fleet | ExistingFleet, spoke: str, shards: Path, **terms: Any) -> None:
    """Puts a site's shard on its node and offers it, on the example's terms or such as are given."""
    volume = await volumes.place_data(fleet, spoke, NAME, INSTALL_NAMESPACE, shards / spoke)
    offered = dataset(volume, **terms)
    await fleet.kubectl(spoke, "apply", "-f", "-", stdin=manifest.text([offered]))


async def submit(fleet: Fleet | ExistingFleet, run: Json) -> None:
    """Applies a run, with its namespace and a volume for its model; what an earlier one of the name left goes first."""
    namespace, claim = run["metadata"]["namespace"], run["spec"]["server"]["storage"]["name"]
    await end(fleet, run)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await fleet.kubectl(HUB, "apply", "-f", "-", stdin=manifest.text([body]))
    await volumes.offer_volume(fleet, namespace, claim)
    await fleet.kubectl(HUB, "apply", "-f", "-", stdin=manifest.text([run]))


async def end(fleet: Fleet | ExistingFleet, run: Json) -> None:
    """Deletes a run, and its model with the volume's claim."""
    name, namespace = run["metadata"]["name"], run["metadata"]["namespace"]
    claim = run["spec"]["server"]["storage"]["name"]
    for thing in (f"federatedlearning/{name}", f"persistentvolumeclaim/{claim}"):
        await fleet.kubectl(HUB, "delete", thing, f"--namespace={namespace}", "--ignore-not-found", TIMEOUT_FLAG)


async def load_collaborator(fleet: Fleet | ExistingFleet) -> Image:
    """The example's image on every node: the hub reads the plan with it, the sites train with it."""
    image = await images.build_digits(fleet.layout)
    await fleet.load_image(image)
    return image


async def fetch_model(fleet: Fleet | ExistingFleet, out: Path, name: str = NAME, namespace: str = NAME) -> None:
    """Downloads the model of a run as its author does, wherever it is stored.

    Raises:
        CommandFailed: there is none, or it is not what its digest says.
    """
    await run(*kubectl_fl(fleet, "model", name, f"--namespace={namespace}", "--output", str(out)))


def kubectl_fl(fleet: Fleet | ExistingFleet, *words: str) -> tuple[str, ...]:
    """The words that call `kubectl fl` on the hub."""
    return ("env", f"KUBECTL={fleet.kubectl_program}", _KUBECTL_FL, *words, f"--kubeconfig={fleet.kubeconfig(HUB)}")


async def evaluate(shards: Path, model: Path) -> Verdict:
    """The federated model beside what each site would have come to alone."""
    lines = [json.loads(line) for line in (await _script("evaluate.py", str(shards), str(model))).splitlines()]
    found = {line["model"]: float(line["accuracy"]) for line in lines}
    return Verdict(found.pop("federation"), found)


def dataset(volume: Json, **terms: Any) -> Json:
    """The example's Dataset over that volume, for images of this fleet, with these fields of its policy changed."""
    (body,) = manifest.read(DIGITS / "dataset.yaml")
    body["spec"]["volume"] = volume
    body["spec"]["policy"] |= {"images": ["localhost/fleet/"], **terms}
    return body


def federated_learning(image: str, name: str = NAME, namespace: str = NAME) -> Json:
    """The example's run with that image."""
    (body,) = manifest.read(DIGITS / "federatedlearning.yaml")
    body["metadata"] = {"name": name, "namespace": namespace}
    body["spec"]["client"]["image"] = image
    return body


async def _script(name: str, *arguments: str) -> str:
    """Runs a script of the example as its user would: with its folder and the runtime's package to import from."""
    return await run(
        *("env", f"PYTHONPATH={DIGITS}:{REPOSITORY}", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"),
        *(str(_PYTHON), str(DIGITS / name), *arguments),
        deadline=300,
    )
