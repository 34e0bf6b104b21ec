"""The OpenFL runtime and the agent, each written by itself, keep one image contract."""

from pathlib import Path

import msgspec
import pytest

from federation.api.collaborator import AggregatorAddress
from federation.runtime_contract import FATAL_EXITS, TERMINATION_LOG, TLS_FOLDER, ExitCode, TerminationMessage
from runtimes.kit.config import collaborator_config
from runtimes.kit.failure import RuntimeFailureReason
from spoke_agent.collaborator.planning.container_exit import exit_of, in_words
from spoke_agent.collaborator.planning.job import job
from tests.support.builders.collaborator_objects import SITE, collaborator, failed_state, open_dataset, pod_of_job

ADDRESS = AggregatorAddress(addresses=("[2001:db8::1]:30051",), patience_seconds=90)


def test_the_runtime_takes_the_environment_that_the_agent_gives() -> None:
    body = job(collaborator(), ADDRESS, open_dataset(), SITE, remaining=None)
    container = body["spec"]["template"]["spec"]["containers"][0]

    config = collaborator_config({variable["name"]: variable["value"] for variable in container["env"]})

    assert (config.cluster, config.aggregators, config.deadline) == ("c1", ("[2001:db8::1]:30051",), 90.0)
    assert (config.data, config.tls) == (Path("/data"), Path(TLS_FOLDER))
    assert config.workspace.termination_log == Path(TERMINATION_LOG)


@pytest.mark.parametrize(
    ("plan", "file"),
    [
        (None, "/workspace/plan/plan.yaml"),
        ({"file": "plan/fast.yaml"}, "/workspace/plan/fast.yaml"),
        ({"text": "tasks: {}"}, "/plan/plan.yaml"),
    ],
    ids=["the image's own", "another of the image", "the hub's"],
)
def test_the_runtime_uses_the_plan_that_the_agent_names(plan: dict[str, str] | None, file: str) -> None:
    body = job(collaborator(plan=plan), ADDRESS, open_dataset(), SITE, remaining=None)
    container = body["spec"]["template"]["spec"]["containers"][0]

    config = collaborator_config({variable["name"]: variable["value"] for variable in container["env"]})

    assert config.workspace.plan == Path(file)


def test_the_job_retries_the_failures_that_the_runtime_calls_transient() -> None:
    worth_it = {ExitCode.DONE, ExitCode.INTERNAL, ExitCode.AGGREGATOR_LOST, ExitCode.TERMINATED}

    assert set(FATAL_EXITS) == {code.value for code in set(ExitCode) - worth_it}


def test_the_agent_reads_what_the_runtime_writes() -> None:
    failure = TerminationMessage(
        reason=RuntimeFailureReason.WORKSPACE_FAILED,
        message="No module named 'lightgbm'",
        exception="ModuleNotFoundError",
        file="src/taskrunner.py",
        line=7,
        task="train",
        round=2,
    )

    ended = exit_of(pod_of_job(state=failed_state(msgspec.json.encode(failure).decode())))

    assert ended is not None
    assert (ended.reason, ended.task, ended.round) == ("WorkspaceFailed", "train", 2)
    assert in_words(ended) == "ModuleNotFoundError: No module named 'lightgbm' (src/taskrunner.py:7)"
