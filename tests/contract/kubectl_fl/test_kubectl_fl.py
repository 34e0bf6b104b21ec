"""The command line with a real kubectl and API server.

Covers kubectl's flags and kind names, its watch format and error messages, and the server's validation of the reader
pod. OCM's CRDs are not installed, which tests a hub without them.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from federation.kube.client import Client
from federation.kube.kinds import FEDERATED_LEARNING
from federation.kube.resource import Json, Kind, ObjectKey, Resource
from kubectl_fl.app import main
from kubectl_fl.kubectl import Kubectl
from kubectl_fl.resources.pods import RUN_POD
from kubectl_fl.resources.reader_pod import ModelLocation, ReaderSettings, reader_pod
from tests.support.api_server.apiserver import find_programs, loopback_api_server
from tests.support.builders.run_objects import run_json, run_of
from tests.support.waiting import until

pytestmark = pytest.mark.apiserver

CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, Resource)
DEFINITION: Json = yaml.safe_load(Path("manifests/crds/federatedlearnings.yaml").read_text(encoding="utf-8"))
KEY = ObjectKey("default", "mnist")


@dataclass(frozen=True)
class Hub:
    """The API server with a run, and its clients."""

    admin: Client
    kubeconfig: Path
    kubectl: Kubectl

    async def says(self, **status: object) -> None:
        """Set the status of the run."""
        body = {"metadata": {"name": KEY.name, "namespace": KEY.namespace}, "status": status}
        kind, manager = FEDERATED_LEARNING, "federated-learning-hub-manager"
        await self.admin.apply(kind, KEY, body, field_manager=manager, subresource="status")

    async def typed(self, *words: str) -> int:
        """Run a command and return its exit code."""
        return await asyncio.to_thread(main, [*words, f"--kubeconfig={self.kubeconfig}"])


@pytest_asyncio.fixture(scope="module")
async def server() -> AsyncIterator[Hub]:
    """Start one API server for the module."""
    programs = await find_programs()
    async with (
        loopback_api_server() as server,
        Client.from_kubeconfig(server.kubeconfig, field_manager="user") as admin,
    ):
        name = DEFINITION["metadata"]["name"]
        await admin.apply(CRD, ObjectKey("", name), DEFINITION, field_manager="user")
        kubectl = Kubectl(str(programs / "kubectl"), (f"--kubeconfig={server.kubeconfig}",))
        wait = ("wait", "crd", name, "--for=condition=Established", "--timeout=30s")
        await asyncio.to_thread(lambda: kubectl.call(*wait, subject="the definition"))
        yield Hub(admin, server.kubeconfig, kubectl)


@pytest_asyncio.fixture
async def hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """Create a run for each test."""
    monkeypatch.setenv("KUBECTL", server.kubectl.program)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # Commands run in threads here, which may set none.
    await server.admin.apply(FEDERATED_LEARNING, KEY, run_json(), field_manager="user")
    yield server
    await server.admin.delete(FEDERATED_LEARNING, KEY)


async def test_status_shows_a_run_and_prints_it_unchanged_as_json(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    await hub.says(phase="Waiting", message="2 clusters are needed", observedGeneration=1)

    assert await hub.typed("status", "mnist", "-n", "default") == 0
    assert await hub.typed("status", "--all-namespaces") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("default/mnist Waiting\n  2 clusters are needed\n")
    assert "default     mnist   Waiting" in shown
    assert await hub.typed("status", "mnist", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["status"]["phase"] == "Waiting"


async def test_watch_prints_each_change_and_ends_with_the_run(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    await hub.says(phase="Running", message="Rounds are in progress", observedGeneration=1)
    watching = asyncio.create_task(hub.typed("watch", "mnist"))
    await until(lambda: "Running: Rounds are in progress" in _kept(capsys) or watching.done())
    failed: Json = {
        "type": "Failed",
        "status": "True",
        "reason": "SitesFailed",
        "message": "c1: KeyError",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    await hub.says(phase="Failed", message="c1: KeyError", observedGeneration=1, conditions=[failed])

    assert await asyncio.wait_for(watching, 60) == 1
    assert "Failed: c1: KeyError" in _kept(capsys)


async def test_watch_ends_when_the_run_is_deleted(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    await hub.says(phase="Running", message="Rounds are in progress", observedGeneration=1)
    watching = asyncio.create_task(hub.typed("watch", "mnist"))
    await until(lambda: "Running: Rounds are in progress" in _kept(capsys) or watching.done())
    await hub.admin.delete(FEDERATED_LEARNING, KEY)

    assert await asyncio.wait_for(watching, 60) == 1
    await hub.admin.apply(FEDERATED_LEARNING, KEY, run_json(), field_manager="user")


async def test_missing_objects_are_reported_in_one_line(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert await hub.typed("status", "none") == 1
    assert await hub.typed("watch", "none") == 1
    assert await hub.typed("logs", "mnist") == 1
    said = capsys.readouterr().err.splitlines()
    assert "FederatedLearning none: not found" in said[0]
    assert "FederatedLearning none: not found" in said[1]
    assert "mnist has no aggregator pod" in said[2]


async def test_an_unknown_context_is_reported_with_its_remedy(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert await hub.typed("status", "mnist", "--context=prod") == 1
    assert "kubectl config get-contexts" in capsys.readouterr().err


async def test_doctor_reports_unreadable_kinds_on_a_hub_without_ocm(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    await hub.typed("doctor", "mnist")
    told = capsys.readouterr().out
    assert "unknown  cluster sets" in told
    assert "select the hub with --context" in told


async def test_the_api_server_accepts_the_reader_pod(hub: Hub) -> None:
    run = run_of({**run_json(), "metadata": {"name": "mnist", "namespace": "default", "uid": "u-1"}})
    body = reader_pod(
        run,
        ModelLocation("model", "/volume/m", "blake3:0", 1, 1),
        ReaderSettings("r.example.org/a:1", node="n1"),
        "r-1",
    )
    create = ("create", "-f", "-", "--namespace", "default", "--validate=strict")

    await asyncio.to_thread(lambda: hub.kubectl.call(*create, subject="it", standard_input=json.dumps(body).encode()))
    made = await asyncio.to_thread(lambda: hub.kubectl.read(RUN_POD, "r-1", "default"))
    delete = ("delete", "pod", "r-1", "--namespace", "default", "--ignore-not-found", "--wait=false")
    await asyncio.to_thread(lambda: hub.kubectl.call(*delete, subject="it", defer_signals=True))
    again = await asyncio.to_thread(lambda: hub.kubectl.call(*delete, subject="it", defer_signals=True))

    assert made.metadata.labels["app.kubernetes.io/name"] == "kubectl-fl"
    assert again == b""


_PRINTED: dict[int, str] = {}


def _kept(capsys: pytest.CaptureFixture[str]) -> str:
    """Return everything printed to standard output so far."""
    _PRINTED[id(capsys)] = _PRINTED.get(id(capsys), "") + capsys.readouterr().out
    return _PRINTED[id(capsys)]
