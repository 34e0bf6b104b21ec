"""A run that has ended, its volume, and a kubectl that reads both."""

from pathlib import Path
from typing import Any

from federation.kube.kinds import FEDERATED_LEARNING, JOB
from hub_manager.aggregator.storage.checkpoint import CheckpointStore
from hub_manager.federated_learning.resources.aggregator_job import job
from hub_manager.federated_learning.settings import RunImages
from kubectl_fl.commands.download import ModelDownload
from kubectl_fl.kubectl import Kubectl
from tests.support.builders.models import MIXED, Held, elements, packed, rounded
from tests.support.builders.run_objects import run_json, run_of
from tests.support.fakes.fake_kubectl import FakeKubectl

FOLDER = "default/mnist/1-u-1"
RAW = packed(MIXED, rounded(MIXED, [float(index) for index in range(elements(MIXED))]))
IMAGE = "registry.example.org/federation/aggregator:1.2.3"


class Hub:
    """A run that has ended, its volume, and a kubectl that reads both."""

    def __init__(self, folder: Path, **server: Any) -> None:
        self.volume = folder / "volume"
        store = CheckpointStore(self.volume / FOLDER / "checkpoints", "u-1-1")
        stored = store.store_initial_model(MIXED, Held(RAW))
        self.file = store.path(0)
        self.body = run_json(server=server)
        self.body["metadata"] |= {"uid": "u-1", "generation": 1}
        location = str(self.file.relative_to(self.volume))
        model = {"location": location, "digest": stored.digest, "size": MIXED.nbytes, "round": 0}
        self.body["status"] = {"attempt": 1, "observedGeneration": 1, "model": model}
        self.kubectl = FakeKubectl(folder, volume=self.volume).has(FEDERATED_LEARNING, self.body)
        self.kubectl.has(JOB, job(self.run, 1, RunImages(aggregator=IMAGE)))
        self.told: list[str] = []

    @property
    def run(self) -> Any:
        return run_of(self.body)

    def download(self, target: Path, image: str = "") -> ModelDownload:
        found = ModelDownload(Kubectl(self.kubectl.program), self.run, self.told.append, pause=lambda _: None)
        found.download_to(target, image, "abcde")
        return found
