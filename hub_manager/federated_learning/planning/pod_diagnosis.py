"""Diagnose the aggregator's pods: why one has not started, and how the last one ended.

A container's termination message is a small JSON document if its image follows the runtime contract, and otherwise the
end of its log (`terminationMessagePolicy: FallbackToLogsOnError`). The init container runs the user's image. Its
message is truncated, and decides nothing except the reason in the condition.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from federation.api.kubernetes.run_objects import AggregatorPod, Job
from hub_manager.federated_learning.planning.timestamps import moment
from hub_manager.federated_learning.resources.names import ATTEMPT_LABEL

LONGEST: Final = 2048
"""Maximum characters of a termination message in the status; the kubelet keeps at most 4,096 bytes."""
POD_GRACE: Final = timedelta(seconds=30)
"""Maximum time that a Job needs to create its pod."""
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_UNPRINTABLE: Final = re.compile(r"[^\n\t -~\u00a0-\ud7ff\ue000-\ufffd]")
_PENDING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class ContainerFailure:
    """Reported reason of a failed container, or `""`, and its message."""

    reason: str
    message: str


class _Failure(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""
    file: str = ""
    line: int = 0


def last_failure(pods: Sequence[AggregatorPod], attempt: int) -> ContainerFailure | None:
    """Return the failure of the attempt's newest failed container, or None."""
    for pod in _newest_first(pods, attempt):
        for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            ended = container.state.terminated
            if ended is not None and ended.exit_code:
                return _words(container.name, ended.message, f"{ended.reason}, exit code {ended.exit_code}")
    return None


def start_problem(pods: Sequence[AggregatorPod], attempt: int) -> str:
    """Return the reason that Kubernetes reports for a pod that can't start, or `""`."""
    pod = next(_newest_first(pods, attempt), None)
    if pod is None:
        return ""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return _bounded(f"{condition.reason}: {condition.message}")
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in _PENDING:
            return _bounded(f"container {container.name}: {waiting.reason}: {waiting.message}")
    return ""


def pod_due(job: Job | None, pods: Sequence[AggregatorPod], attempt: int, not_ready: datetime) -> datetime | None:
    """Return the time by which the Job should have a pod, or None if it has one or needs none.

    If a quota, Pod Security or OpenShift's security context constraints reject the pod, only an Event of the Job
    reports it (Kubernetes `pkg/controller/controller_utils.go`, FailedCreate).

    Args:
        job: The attempt's Job.
        pods: The observed pods; the pod of a new Job may not be observed yet.
        attempt: Number of the attempt.
        not_ready: Time since which the aggregator is not ready; it may have had a pod until then.
    """
    if job is None or job.ended or job.metadata.deleting or job.spec.suspend or job.status.active:
        return None
    if next(_newest_first(pods, attempt), None) is not None:
        return None
    begun = (moment(text, not_ready) for text in (job.metadata.creation_timestamp, job.status.start_time))
    return max(not_ready, *begun) + POD_GRACE


def missing_pod_message(job: Job) -> str:
    """Describe how to find out why a Job has no pod, and the most common fix."""
    name, namespace = job.metadata.name, job.metadata.namespace
    return (
        f"The Job {name} has no pod. To find the cause, run: kubectl describe job {name} --namespace {namespace}. A "
        "quota or Pod Security may reject the pod; OpenShift rejects its group unless the hub's administrator sets "
        "runs.fsGroup to none. After that change, delete the Job; the hub manager creates it again"
    )


def succeeded(pods: Sequence[AggregatorPod], attempt: int) -> bool:
    """Check whether the attempt's newest pod has succeeded, which precedes the completion of its Job."""
    pod = next(_newest_first(pods, attempt), None)
    return pod is not None and pod.status.phase == "Succeeded"


def _newest_first(pods: Sequence[AggregatorPod], attempt: int) -> Iterator[AggregatorPod]:
    own = [pod for pod in pods if pod.metadata.labels.get(ATTEMPT_LABEL) == str(attempt)]
    return iter(sorted(own, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name), reverse=True))


def _words(container: str, message: str, how: str) -> ContainerFailure:
    try:
        failure = msgspec.json.decode(message, type=_Failure)
    except msgspec.MsgspecError:
        failure = _Failure()
    if not _REASON.fullmatch(failure.reason):
        return ContainerFailure("", _bounded(f"container {container} ended ({how}): {message}"))
    place = f" ({failure.file}:{failure.line})" if failure.file else ""
    return ContainerFailure(failure.reason, _bounded(f"{failure.message}{place}"))


def _bounded(text: str) -> str:
    return _UNPRINTABLE.sub("\ufffd", text[:LONGEST])
