"""The agent as a process: how it starts, and how it ends."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Iterator

import pytest
import structlog

from spoke_agent import __main__ as process
from spoke_agent.config import Config


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_unusable_settings_end_it_with_one_line_that_names_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLUSTER_NAME", "")

    status = process.main()

    (line,) = capsys.readouterr().out.splitlines()
    assert status == process.UNUSABLE_SETTINGS
    assert json.loads(line)["event"] == "settings_refused"
    assert "CLUSTER_NAME" in json.loads(line)["error"]


def test_sigterm_ends_it_cleanly_after_its_parts_have_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[str] = []

    async def run(_config: Config) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("agent")

    monkeypatch.setenv("CLUSTER_NAME", "c1")
    monkeypatch.setattr(process, "run", run)

    status = process.main()

    assert (status, ended) == (0, ["agent"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "agent_stopped"


def test_a_part_that_fails_ends_the_process_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(_config: Config) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("the port is taken")

    monkeypatch.setenv("CLUSTER_NAME", "c1")
    monkeypatch.setattr(process, "run", run)

    status = process.main()

    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert status == process.FAILED
    assert last["event"] == "agent_failed"
    assert "the port is taken" in last["exception"]
