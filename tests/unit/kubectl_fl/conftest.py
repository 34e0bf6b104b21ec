"""Fixtures: a fake kubectl that reads from a folder, and a run with a stored model."""

from pathlib import Path

import pytest

from federation.kube.kinds import FEDERATED_LEARNING
from tests.support.fakes.fake_kubectl import FakeKubectl
from tests.support.fleet.model_hub import Hub
from tests.support.plugin import run


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    """Return the fake kubectl, set in KUBECTL."""
    fake = FakeKubectl(tmp_path)
    monkeypatch.setenv("KUBECTL", fake.program)
    return fake.has(FEDERATED_LEARNING, run(message="Rounds are in progress"))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """Return the run, its volume and kubectl."""
    return Hub(tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return the target file in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder / "mnist.safetensors"
