"""The whole process, as its container starts it, with an aggregator's service on the loopback: TLS and all."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from federation.exported_plan import TaskKind
from federation.model import DType, TensorSpec, digest_of, manifest_of
from federation.rpc.tls import Files
from federation.runtime_contract import ExitCode
from hub_manager.aggregator.domain import Task
from hub_manager.aggregator.rounds.effects import SendRunEnded, SendWork
from tests.support.builders.workspaces import DIGITS
from tests.support.exchange import exchange as support
from tests.support.exchange import reference_run
from tests.support.exchange.tls import RUN, SERVER_NAME, Desk
from tests.support.waiting import until

pytestmark = pytest.mark.openfl

TASKS = (
    Task("aggregated_model_validation", TaskKind.VALIDATE_AGGREGATED),
    Task("train", TaskKind.TRAIN),
    Task("locally_tuned_model_validation", TaskKind.VALIDATE_LOCAL),
)
ROUNDS = 2


async def start(files: Files, address: str, data: Path, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runtimes.openfl"),
        env={
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.environ["PATH"],
            "FL_RUN": "default/digits",
            "FL_RUN_ID": RUN,
            "FL_CLUSTER": "c1",
            "FL_AGGREGATORS": address,
            "FL_SERVER_NAME": SERVER_NAME,
            "FL_DATA": str(data),
            "FL_TLS": str(files.key.parent),
            "FL_WORKSPACE": str(DIGITS),
            "FL_DEADLINE_SECONDS": "30",
            "FL_TERMINATION_LOG": str(folder / "termination-log"),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


def bytes_of(model: reference_run.Model) -> bytes:
    return b"".join(model[name].tobytes() for name in sorted(model))


async def test_a_run_over_tls_equals_the_reference_to_the_last_bit(
    tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference_run.run(DIGITS, {"c1": shards / "c1"}, rounds=ROUNDS)
    manifest = manifest_of(TensorSpec(name, DType.FLOAT32, value.shape) for name, value in expected.first.items())
    monkeypatch.setattr(support, "MANIFEST", manifest)
    model = bytes_of(expected.first)
    engine = support.SimpleEngine(models={digest_of(model): support.MemoryModel(model)})
    desk = Desk(tmp_path)
    async with asyncio.timeout(120), support.aggregator(desk.server(), engine) as aggregator:
        process = await start(desk.collaborator("c1"), aggregator.address, shards / "c1", tmp_path)
        for number in range(1, ROUNDS + 1):
            deadline = datetime.now(UTC).timestamp() + 600
            await engine.push(SendWork("c1", number, TASKS, digest_of(model), deadline))
            await until(lambda: len(engine.reported) == number * len(TASKS) and "c1" in engine.counted)  # noqa: B023
            _, model = engine.counted.pop("c1")
            engine.models[digest_of(model)] = support.MemoryModel(model)
        await engine.push(SendRunEnded("c1", completed=True, message="done", digest=digest_of(model)))
        output, _ = await process.communicate()

    assert process.returncode == ExitCode.DONE, output.decode()
    assert model == bytes_of(expected.final)
    assert [reported.task for reported in engine.reported[-len(TASKS) :]] == [task.name for task in TASKS]


async def test_a_cluster_outside_of_the_cohort_ends_at_once_with_the_reason(tmp_path: Path, shards: Path) -> None:
    desk = Desk(tmp_path)
    engine = support.SimpleEngine(cohort={"c2"})
    async with asyncio.timeout(120), support.aggregator(desk.server(), engine) as aggregator:
        process = await start(desk.collaborator("c1"), aggregator.address, shards / "c1", tmp_path)
        await process.communicate()

    assert process.returncode == ExitCode.AGGREGATOR_REFUSED
    told = json.loads((tmp_path / "termination-log").read_bytes())
    assert told["reason"] == "AggregatorRefused"
    assert told["message"].startswith("NotInCohort")
    assert "file" not in told
