"""What is said of a running run's aggregator, in the condition ServerReady; and when to look at it again."""

from federation.api.meta import condition_of
from federation.api.run_objects import Job
from federation.api.run_status import SERVER_READY
from hub_manager.federated_learning import moments
from hub_manager.federated_learning.one_pass import Pass
from hub_manager.federated_learning.pods import not_started, pod_due, succeeded, without_pod
from hub_manager.federated_learning.status import Reason


def tell_server(step: Pass) -> None:
    """Says whether the aggregator serves, and what keeps it."""
    observed, told = step.observed, step.told
    job = observed.job_of(step.attempt.attempt)
    if observed.authority is None:
        message = "The hub manager has no certificate authority yet; see its own log and Events"
        told.say(SERVER_READY, "False", Reason.NO_AUTHORITY.value, message)
    elif job is None and (fault := step.unfit) is not None:
        told.say(SERVER_READY, "False", fault.reason.value, str(fault))
    elif not step.listeners:
        types = ", ".join(listener.type for listener in observed.run.spec.server.listeners)
        message = f"No listener ({types}) has an address yet: look at the Services of the run"
        told.say(SERVER_READY, "False", Reason.NO_ADDRESS.value, message)
    elif succeeded(observed.pods, step.attempt.attempt):
        message = "The aggregator has ended well; the run is complete once its Job is"
        told.say(SERVER_READY, "False", Reason.FINISHED.value, message)
    elif job is None or not job.status.ready:
        told.say(SERVER_READY, "False", Reason.STARTING.value, _not_ready(step, job))
    else:
        first = step.listeners[0]
        told.say(SERVER_READY, "True", Reason.SERVING.value, f"The aggregator serves at {first.address}:{first.port}")


def _not_ready(step: Pass, job: Job | None) -> str:
    """What keeps the aggregator's pod, as far as Kubernetes says it; a Job without one says it in an Event alone."""
    observed, number = step.observed, step.attempt.attempt
    if why := not_started(observed.pods, number):
        return f"The aggregator's pod does not start: {why}"
    ready = condition_of(step.told.before, SERVER_READY)
    since = moments.since(ready if ready is not None and ready.status == "False" else None, observed.now)
    due = pod_due(job, observed.pods, number, since)
    if job is None or due is None or observed.now < due:
        step.due += [] if due is None else [due]
        return "The aggregator's pod is not ready"
    return without_pod(job)
