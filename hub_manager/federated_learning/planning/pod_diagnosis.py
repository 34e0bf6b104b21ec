"""What the aggregator's pods say: why one has not started, and how the last one ended.

A container's last words are a small JSON document where it speaks the image contract, or else the end of its log
(`terminationMessagePolicy: FallbackToLogsOnError`). The init container is the user's image: its words are bounded, and
decide nothing but the reason that a reader sees.
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
"""Characters of a container's words that reach the status; the kubelet keeps at most 4,096 bytes."""
POD_GRACE: Final = timedelta(seconds=30)
"""How long a Job that can make its pod takes for it at the most."""
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_UNPRINTABLE: Final = re.compile(r"[^\n\t -~\u00a0-\ud7ff\ue000-\ufffd]")
_PENDING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class ContainerFailure:
    """How a container ended: a reason of its own where it left one, and what it said."""

    reason: str
    message: str


class _Failure(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""
    file: str = ""
    line: int = 0


def last_failure(pods: Sequence[AggregatorPod], attempt: int) -> ContainerFailure | None:
    """How the attempt's newest failed container ended, or None where none has failed."""
    for pod in _newest_first(pods, attempt):
        for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            ended = container.state.terminated
            if ended is not None and ended.exit_code:
                return _words(container.name, ended.message, f"{ended.reason}, exit code {ended.exit_code}")
    return None


def start_problem(pods: Sequence[AggregatorPod], attempt: int) -> str:
    """Why the attempt's newest pod has not started, as Kubernetes says it; `""` where it just takes its time."""
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
    """When the Job ought to have its pod at the latest; None where it has one, or is to have none.

    That none can be made is told by an Event of the Job alone (k8s `pkg/controller/controller_utils.go`, FailedCreate):
    a quota, Pod Security, or OpenShift's security context constraints refuse it.

    Args:
        job: The attempt's.
        pods: As they are known; a fresh Job's is on its way.
        attempt: Which.
        not_ready: Since when the aggregator has not been ready; a pod may have been there until then.
    """
    if job is None or job.ended or job.metadata.deleting or job.spec.suspend or job.status.active:
        return None
    if next(_newest_first(pods, attempt), None) is not None:
        return None
    begun = (moment(text, not_ready) for text in (job.metadata.creation_timestamp, job.status.start_time))
    return max(not_ready, *begun) + POD_GRACE


def missing_pod_message(job: Job) -> str:
    """Where to read why a Job gets no pod, and the commonest remedy."""
    name, namespace = job.metadata.name, job.metadata.namespace
    return (
        f"The Job {name} has no pod. To find the cause, run: kubectl describe job {name} --namespace {namespace}. A "
        "quota or Pod Security may reject the pod; OpenShift rejects its group unless the hub's administrator sets "
        "runs.fsGroup to none. After that change, delete the Job; the hub manager creates it again"
    )


def succeeded(pods: Sequence[AggregatorPod], attempt: int) -> bool:
    """Whether the attempt's newest pod has ended well, as it does once its run is completed; the Job says so later."""
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
