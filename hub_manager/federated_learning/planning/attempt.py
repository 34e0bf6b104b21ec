"""Number the attempts at a run: a changed spec starts another attempt.

An attempt is identified by its number and by the hash of the spec that it started with. Both are recorded in the status
before any object is created for the attempt. A change during the rounds waits for their end, so that no training is
lost through an edit. To stop an attempt sooner, suspend or delete the run.

If the plan comes from a ConfigMap, the hash includes the plan's text (`training_plan`). Once the cohort is fixed the
ConfigMap is not read again, and editing it does not restart a run that has ended.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec

from federation.api.federated_learning import FederatedLearning, FederatedLearningSpec
from federation.api.meta import is_true
from federation.api.run_status import COMPLETE, FAILED, FederatedLearningStatus
from federation.kube.conditions import rfc3339
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning.training_plan import source_digest


@dataclass(frozen=True, slots=True)
class SpecHash:
    """The digests by which an attempt is identified, written to `status.recipe` with dashes between them."""

    training: str
    """Digest of the fields that shape the training; excludes the placement, the join policy and the deadline."""
    spec: str
    """Digest of every field of which a change can start another attempt; excludes suspension and the time to live."""
    plan: str = ""
    """Digest of the plan's text; `""` if the attempt has no text from a ConfigMap."""

    @classmethod
    def of(cls, spec: FederatedLearningSpec) -> Self:
        """Hash a spec; the plan's digest stays empty."""
        fields: dict[str, Any] = msgspec.to_builtins(spec)
        fields.pop("suspend", None)
        fields.pop("ttlSecondsAfterFinished", None)
        all_fields = _digest(fields)
        fields.pop("activeDeadlineSeconds", None)
        fields["client"] = {name: value for name, value in fields.get("client", {}).items() if name != "placement"}
        fields["server"] = {name: value for name, value in fields.get("server", {}).items() if name != "joinPolicy"}
        return cls(_digest(fields), all_fields)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a recorded hash; any text is accepted, because others may overwrite the status."""
        training, spec, plan, *_ = [*text.split("-"), "", ""]
        return cls(training, spec, plan)

    def __str__(self) -> str:
        return "-".join((self.training, self.spec, self.plan) if self.plan else (self.training, self.spec))

    def is_same_spec(self, other: "SpecHash") -> bool:
        """Check whether both come from equal specs, whatever the plan's text."""
        return (self.training, self.spec) == (other.training, other.spec)


def current_attempt(observed: ObservedRun) -> FederatedLearningStatus:
    """Return the number, hash, cohort and times to record: those of the recorded attempt, or of a new one."""
    run, status = observed.run, observed.run.status
    current, recorded = SpecHash.of(run.spec), SpecHash.parse(status.recipe)
    source = source_digest(observed)
    is_same_training = not has_ended(run) and recorded.training == current.training
    if status.attempt and (recorded.is_same_spec(current) or is_same_training):
        if status.cohort or has_ended(run) or source in {"", recorded.plan}:
            return _recorded_attempt(status, str(replace(current, plan=recorded.plan)))
        if not recorded.plan:
            return _recorded_attempt(status, str(replace(current, plan=source)))
    elif is_under_way(observed):
        return _recorded_attempt(status, status.recipe)
    return FederatedLearningStatus(
        attempt=status.attempt + 1, recipe=str(replace(current, plan=source)), start_time=rfc3339(observed.now)
    )


def has_ended(run: FederatedLearning) -> bool:
    """Check whether the recorded attempt is complete or has failed."""
    return is_true(run.status.conditions, COMPLETE) or is_true(run.status.conditions, FAILED)


def is_under_way(observed: ObservedRun) -> bool:
    """Check whether rounds are in progress, so that a changed spec has to wait."""
    run = observed.run
    job = observed.job_of(run.status.attempt)
    return bool(run.status.cohort) and not has_ended(run) and not run.spec.suspend and job is not None


def _recorded_attempt(status: FederatedLearningStatus, recipe: str) -> FederatedLearningStatus:
    return FederatedLearningStatus(
        attempt=status.attempt,
        recipe=recipe,
        cohort=status.cohort,
        start_time=status.start_time,
        completion_time=status.completion_time,
    )


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:16]
