"""The status of a Collaborator on the hub: every state, and the cause of a failed container."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from federation.api.collaborator import FEEDBACK, VALUE_LIMIT, CollaboratorExit, CollaboratorStatus
from federation.api.meta import condition_of, is_true
from spoke_agent.collaborator.planning import admission
from spoke_agent.collaborator.planning.container_exit import clean, clean_tail, exit_of, in_words
from spoke_agent.collaborator.planning.status import CollaboratorReason, JobProblem, build_status
from tests.support.builders.collaborator_objects import (
    collaborator,
    failed_state,
    job_of,
    open_dataset,
    pod_of_job,
    told,
)

NOW = datetime(2030, 6, 1, tzinfo=UTC)
LATER = datetime(2030, 6, 2, tzinfo=UTC)
DATASET = open_dataset()
ACCEPTED = admission.RequestAccepted(DATASET, None)
TRACEBACK = """\
2030-06-01 training begins
Traceback (most recent call last):
  File "/app/main.py", line 3, in <module>
    import taskrunner
  File "/workspace/src/taskrunner.py", line 7, in <module>
    import lightgbm
ModuleNotFoundError: No module named 'lightgbm'
"""


def reported(*pods: Any, job: Any = None, verdict: Any = ACCEPTED, **asked: Any) -> CollaboratorStatus:
    return build_status(collaborator(**asked), verdict, job, pods, NOW, dataset=DATASET)


def own_job(*conditions: tuple[str, str, str], failed: int = 0) -> Any:
    return job_of(collaborator(), DATASET, *conditions, failed=failed)


@pytest.mark.parametrize(
    ("arguments", "state", "reason"),
    [
        (
            {"verdict": admission.RequestRejected(admission.AdmissionReason.IMAGE_NOT_ALLOWED, "no")},
            "Refused",
            "ImageNotAllowed",
        ),
        ({"verdict": admission.RequestPending("ask", "v")}, "Pending", "ApprovalPending"),
        ({"aggregator": None}, "Accepted", "WaitingForAggregator"),
        ({}, "Starting", "JobPending"),
        ({"job": own_job()}, "Starting", "PodPending"),
        ({"job": own_job(("Complete", "CompletionsReached", ""))}, "Succeeded", "Succeeded"),
        ({"job": own_job(("Failed", "DeadlineExceeded", "too long"))}, "Failed", "DeadlineExceeded"),
        ({"job": own_job(("FailureTarget", "BackoffLimitExceeded", ""))}, "Starting", "PodPending"),
    ],
)
def test_each_situation_has_its_state_and_reason(arguments: dict[str, Any], state: str, reason: str) -> None:
    status = reported(**arguments)

    assert (status.state, status.reason) == (state, reason)
    assert status.message


@pytest.mark.parametrize(
    ("pod", "state", "reason", "words"),
    [
        (pod_of_job(state={"running": {}}), "Running", "ContainerRunning", "running"),
        (
            pod_of_job(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
            "Starting",
            "ImagePullBackOff",
            "no such image",
        ),
        (
            pod_of_job(
                state={"waiting": {"reason": "CreateContainerConfigError", "message": "image will run as root"}}
            ),
            "Starting",
            "CreateContainerConfigError",
            "run as root",
        ),
        (
            pod_of_job(
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "no nvidia.com/gpu",
                    }
                ]
            ),
            "Starting",
            "Unschedulable",
            "nvidia.com/gpu",
        ),
        (pod_of_job(state=failed_state(told())), "Retrying", "Retrying", "src/taskrunner.py:7"),
        (pod_of_job(phase="Failed", reason="Evicted", message="low on disk"), "Retrying", "Retrying", "low on disk"),
        (pod_of_job(state={"terminated": {"exitCode": 0}}), "Succeeded", "Succeeded", "succeeded"),
        (pod_of_job(phase="Succeeded"), "Succeeded", "Succeeded", "succeeded"),
    ],
    ids=["running", "no image", "root", "no node", "failed", "evicted", "ended before its Job", "gone before its Job"],
)
def test_the_status_reports_why_a_pod_does_not_run(pod: Any, state: str, reason: str, words: str) -> None:
    status = reported(pod, job=own_job())

    assert (status.state, status.reason) == (state, reason)
    assert words in status.message


def test_an_exception_in_user_code_is_reported_with_file_and_line() -> None:
    job = own_job(("Failed", "PodFailurePolicy", "exit code 4"), failed=1)

    status = reported(pod_of_job(state=failed_state(told(round=3, log="epoch 1\nepoch 2"))), job=job)

    assert (status.state, status.reason, status.restarts) == ("Failed", "WorkspaceFailed", 1)
    assert status.message == "ModuleNotFoundError: No module named 'lightgbm' (src/taskrunner.py:7)"
    assert (status.exit.code, status.exit.file, status.exit.line, status.exit.round) == (4, "src/taskrunner.py", 7, 3)
    assert status.exit.log == "epoch 1\nepoch 2"
    assert is_true(status.conditions, "Finished")


def test_a_traceback_at_the_end_of_the_log_is_read_where_the_runtime_left_no_word() -> None:
    status = reported(pod_of_job(state=failed_state(TRACEBACK, code=1)), job=own_job())

    assert status.message == "ModuleNotFoundError: No module named 'lightgbm' (/workspace/src/taskrunner.py:7)"
    assert status.exit.log.endswith("ModuleNotFoundError: No module named 'lightgbm'")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (failed_state("", code=137, reason="OOMKilled"), "exit status 137"),
        (failed_state("{}", code=4), "exit status 4"),
        (failed_state("[1, 2]", code=4), "exit status 4"),
        (failed_state('{"line": "x"}', code=4), "exit status 4"),
        (failed_state(told(message="", exception="", file="", line=-5), code=4), "exit status 4"),
    ],
)
def test_every_kind_of_termination_is_reported(state: Any, words: str) -> None:
    status = reported(pod_of_job(state=state), job=own_job())

    assert words in status.message
    assert status.exit.line == 0


def test_the_newest_failure_is_the_one_that_counts() -> None:
    old = pod_of_job("z", state=failed_state(told(line=1), at="2030-06-01T00:00:00Z"))
    new = pod_of_job("a", state=failed_state(told(line=2), at="2030-06-01T00:01:00Z"))

    status = reported(old, new, job=own_job(("Failed", "BackoffLimitExceeded", ""), failed=2))

    assert status.exit.line == 2


def test_a_failure_is_remembered_when_its_pod_is_gone_but_not_in_another_attempt() -> None:
    before = msgspec.to_builtins(reported(pod_of_job(state=failed_state(told())), job=own_job()))
    job = own_job(("Failed", "BackoffLimitExceeded", "6"), failed=7)

    kept = build_status(collaborator(status=before), ACCEPTED, job, (), NOW, dataset=DATASET)
    anew = build_status(collaborator(status={**before, "runId": "run-uid-0"}), ACCEPTED, None, (), NOW, dataset=DATASET)

    assert (kept.reason, kept.exit.line) == ("WorkspaceFailed", 7)
    assert anew.exit == CollaboratorExit()


def test_success_after_a_failure_is_success() -> None:
    pods = (pod_of_job("a", state=failed_state(told())), pod_of_job("b", state={"terminated": {"exitCode": 0}}))

    status = reported(*pods, job=own_job(("Complete", "CompletionsReached", ""), failed=1))

    assert (status.state, status.exit) == ("Succeeded", CollaboratorExit())


def test_an_ended_job_is_reported_under_any_policy() -> None:
    refused = admission.RequestRejected(admission.AdmissionReason.DATASET_EXPIRED, "over")

    status = reported(job=own_job(("Complete", "CompletionsReached", "")), verdict=refused)

    assert status.state == "Succeeded"
    accepted = condition_of(status.conditions, "Accepted")
    assert accepted is not None
    assert (accepted.status, accepted.reason) == ("False", "DatasetExpired")


def test_a_rejected_job_is_reported() -> None:
    problem = JobProblem(CollaboratorReason.JOB_REFUSED, "exceeded quota")

    status = build_status(collaborator(), ACCEPTED, None, (), NOW, dataset=DATASET, problem=problem)

    assert (status.state, status.reason, status.message) == ("Starting", "JobRefused", "exceeded quota")


def test_a_report_of_the_same_is_the_same() -> None:
    first = reported(pod_of_job(state={"running": {}}), job=own_job())

    again = build_status(
        collaborator(status=msgspec.to_builtins(first)),
        ACCEPTED,
        own_job(),
        (pod_of_job(state={"running": {}}),),
        LATER,
        dataset=DATASET,
    )

    assert again == first


def test_every_value_fits_into_a_works_feedback() -> None:
    noise = "\x1b[31m" + "ü" * 4000
    for message in (
        noise,
        told(message=noise, file=noise, exception=noise, task=noise, reason=noise),
        TRACEBACK + noise,
    ):
        status = reported(pod_of_job(state=failed_state(message)), job=own_job(), name="fl-digits")

        for value in fed_back(status).values():
            assert isinstance(value, str | int)
            assert len(str(value).encode()) <= VALUE_LIMIT
            assert "\x1b" not in str(value)


def test_the_hub_learns_the_state_and_the_failure_by_the_works_feedback() -> None:
    status = reported(pod_of_job(state=failed_state(told())), job=own_job(("Failed", "PodFailurePolicy", ""), failed=1))

    assert (
        fed_back(status).items()
        >= {
            "state": "Failed",
            "reason": "WorkspaceFailed",
            "runId": "run-uid-1",
            "exitCode": 4,
            "file": "src/taskrunner.py",
            "line": 7,
            "restarts": 1,
        }.items()
    )


def test_text_is_cut_between_characters_and_a_log_at_its_beginning() -> None:
    assert clean("aüü", 4) == "aü"
    assert clean_tail("first\nsecond\nthird", 12) == "third"
    assert clean_tail("ü" * 10, 5) == "üü"


def test_a_container_that_ended_well_has_not_failed() -> None:
    assert exit_of(pod_of_job(state={"terminated": {"exitCode": 0}})) is None


def test_a_long_message_leaves_room_for_the_place() -> None:
    ended = exit_of(pod_of_job(state=failed_state(told(message="x" * 2000))))

    assert ended is not None
    assert in_words(ended).endswith("x (src/taskrunner.py:7)")
    assert len(in_words(ended)) == VALUE_LIMIT


def fed_back(status: CollaboratorStatus) -> dict[str, Any]:
    """Return the values that the feedback paths select."""
    found = {}
    for name, path in FEEDBACK.items():
        value: Any = {"status": msgspec.to_builtins(status)}
        for step in path.removeprefix(".").split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            found[name] = value
    return found
