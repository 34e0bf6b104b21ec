"""Start of an aggregator: the probes, the volume, and the status of a run that can't start."""

import asyncio
import threading
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession

from federation.exported_plan import PLAN_FILE
from federation.kube.kinds import FEDERATED_LEARNING
from federation.model import ModelManifest
from federation.safetensors import header
from hub_manager.aggregator import app
from hub_manager.aggregator.__main__ import run_once
from hub_manager.aggregator.app import AggregatorSettings
from hub_manager.aggregator.config import read_run
from hub_manager.aggregator.storage.initial_model import read_initial_model
from hub_manager.aggregator.storage.volume import FileSource
from hub_manager.aggregator.validation.manifest import ModelLimits
from tests.support.builders.models import MIXED, packed
from tests.support.exchange.aggregator_runs import Pod
from tests.support.exchange.engine_runs import COHORT, initial_model
from tests.support.fakes.fake_api import FakeApi


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    kind = {"apiVersion": FEDERATED_LEARNING.api_version, "kind": FEDERATED_LEARNING.kind}
    metadata = {"name": "digits", "namespace": "default", "uid": "run-uid"}
    api.seed(FEDERATED_LEARNING, {**kind, "metadata": metadata, "spec": {}})
    return api


async def requested_from(port: int, path: str) -> tuple[int, str]:
    """Return the answer to a probe, once the server listens."""
    async with asyncio.timeout(60), ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, await answer.text()
            except ClientConnectorError:
                await asyncio.sleep(0.01)


async def test_liveness_probe_succeeds_while_a_large_initial_model_is_stored(
    pod: Pod, api: FakeApi, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    begun, let_go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(path: Path, limits: ModelLimits) -> tuple[ModelManifest, FileSource]:
        loop.call_soon_threadsafe(begun.set)
        assert let_go.wait(30)
        return read_initial_model(path, limits)

    monkeypatch.setattr(app, "read_initial_model", slow)
    pod.export_initial_model(header(MIXED, {}) + packed(MIXED, initial_model()))
    settings = AggregatorSettings("127.0.0.1:0", unused_tcp_port, cohort_read_seconds=0.05)
    living = asyncio.create_task(run_once(api, read_run(pod.folders), pod.folders, settings))
    try:
        await asyncio.wait_for(begun.wait(), 60)
        alive, ready = [await requested_from(unused_tcp_port, path) for path in ("/healthz", "/readyz")]
    finally:
        let_go.set()
    pod.write_cohort(*COHORT, revoked=COHORT)
    await living

    assert alive[0] == 200
    assert (ready[0], "the run's folder is being opened" in ready[1]) == (503, True)


@pytest.mark.parametrize("fault", ["ModelUnusable", "ConfigError"])
async def test_status_shows_the_reason_of_a_run_that_can_not_start(pod: Pod, api: FakeApi, fault: str) -> None:
    if fault == "ModelUnusable":
        pod.export_initial_model(b"")
    else:
        (pod.folders.workspace / PLAN_FILE).unlink()

    settings = AggregatorSettings("127.0.0.1:0", 0)
    assert await run_once(api, read_run(pod.folders), pod.folders, settings) is None

    [stored] = api.objects(FEDERATED_LEARNING)
    assert stored["status"]["failure"]["reason"] == fault
