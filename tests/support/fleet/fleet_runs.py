"""A run of the digits on the fleet, as its author sees it: submitted, looked at, its model taken from the store."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from demo import digits
from demo.images import DIGITS, REPOSITORY
from fleet import volumes
from fleet.command import run as run_command
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.images import Image
from fleet.layout import HUB
from fleet.waiting import TIMEOUT, until
from tests.support.fleet.on_hub import read

Clusters = Fleet | ExistingFleet
Json = dict[str, Any]
Model = dict[str, npt.NDArray[np.float32]]
CLAIM: Final = "digits-model"
TERMS: Final[Json] = {"runs": [{"namespace": "digits*"}]}
"""The policy of the sites' Datasets; each test has a separate namespace."""


@dataclass(frozen=True, slots=True)
class Sites:
    """A fleet whose sites offer their shards of the digits."""

    clusters: Clusters
    image: Image
    shards: Path

    @property
    def names(self) -> tuple[str, ...]:
        """The sites that have a shard."""
        return self.clusters.spokes[:2]


@dataclass(frozen=True, slots=True)
class FleetRun:
    """One FederatedLearning."""

    clusters: Clusters
    namespace: str
    name: str = "digits"

    async def submit(self, image: str, *, client: Json | None = None, **server: Any) -> None:
        """Applies the example's run with these fields changed; what an earlier one of the name left is gone before."""
        body = digits.federated_learning(image, self.name, self.namespace)
        body["spec"]["server"] |= server
        body["spec"]["client"] |= client or {}
        await digits.submit(self.clusters, body)

    async def change(self, **spec: Any) -> None:
        """Changes fields of the spec."""
        patch = json.dumps({"spec": spec})
        await self.kubectl("patch", "federatedlearning", self.name, "--type=merge", f"--patch={patch}")

    async def delete(self) -> None:
        """Deletes the run, and its model."""
        await digits.end(self.clusters, digits.federated_learning("", self.name, self.namespace))

    async def kubectl(self, *words: str) -> str:
        """The output of kubectl in the run's namespace."""
        return await self.clusters.kubectl(HUB, *words, f"--namespace={self.namespace}")

    async def status(self) -> Json:
        """The run's status now."""
        found = await read(self.clusters, HUB, "federatedlearning", self.name, f"--namespace={self.namespace}")
        status: Json = found.get("status", {})
        return status

    async def until(self, holds: Callable[[Json], bool], what: str, *, deadline: float = TIMEOUT) -> Json:
        """The first status that holds."""
        seen: list[Json] = [{}]

        async def look() -> bool:
            seen[0] = await self.status()
            return holds(seen[0])

        try:
            await until(look, what, deadline=deadline)
        except TimeoutError as error:
            error.add_note(json.dumps(seen[0], indent=1))
            raise
        return seen[0]

    async def ended(self, phase: str = "Completed") -> Json:
        """The status once the run has ended, which has to be in that phase."""
        status = await self.until(
            lambda s: s.get("phase") in {"Completed", "Failed"}, "the run ends", deadline=2 * TIMEOUT
        )
        assert status["phase"] == phase, json.dumps(status, indent=1)
        return status

    async def in_round(self, number: int) -> Json:
        """Wait for the first status of this round or a later one."""
        return await self.until(lambda s: s.get("round", 0) >= number, f"round {number}")

    async def log(self) -> str:
        """The aggregator's log."""
        return await self.kubectl("logs", f"job/{self.name}-server", "--container=aggregator")

    async def has_cut(self, cluster: str) -> bool:
        """Whether the aggregator has cut the streams of a cluster that was removed."""
        return f'"cluster": "{cluster}", "reason": "Removed"' in await self.log()

    def volume(self, fleet: Fleet) -> Path:
        """The run's volume, on the hub's node."""
        return volumes.volume_folder(fleet, self.namespace, CLAIM)

    async def model(self, status: Json) -> Model:
        """The model that the status names: out of the volume, or where that is out of reach, as its author gets it."""
        if isinstance(self.clusters, Fleet):
            return read_model(self.volume(self.clusters) / status["model"]["location"])
        with TemporaryDirectory() as folder:
            return read_model(await self.fetched(Path(folder)))

    async def fetched(self, folder: Path) -> Path:
        """The model as the run's author gets it."""
        out = folder / "model.safetensors"
        await digits.fetch_model(self.clusters, out, self.name, self.namespace)
        return out


def cluster_of(status: Json, name: str) -> Json:
    """The entry of one cluster in the run's status; `{}` if it is missing."""
    return next((each for each in status.get("clusters", ()) if each["name"] == name), {})


def condition(status: Json, kind: str) -> Json:
    """A condition of the run; `{}` before there is one."""
    return next((each for each in status.get("conditions", ()) if each["type"] == kind), {})


def read_model(file: Path) -> Model:
    """A model's tensors, out of its file."""
    found: Model = load_file(file)
    return found


def equal(one: Model, other: Model) -> bool:
    """Whether two models are the same to the last bit."""
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


async def reference_models(shards: Path, sites: tuple[str, ...], out: Path) -> list[Model]:
    """The model after each round, of a plain computation in one process that shares nothing with the engine."""
    python = REPOSITORY / ".venv-openfl" / "bin" / "python"
    threads = ("OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1")
    words = [str(DIGITS), str(out), *(f"{site}={shards / site}" for site in sites)]
    await run_command(
        *("env", f"--chdir={REPOSITORY}", *threads, str(python), "-m", "tests.support.exchange.reference_run", *words),
        deadline=300,
    )
    files = await asyncio.to_thread(lambda: sorted(out.glob("*.npz")))
    return [dict(np.load(file)) for file in files]
