"""The observation of a run on the hub, and the findings that the checks return."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from federation.api.federated_learning import FederatedLearning
from federation.api.kubernetes.run_objects import ManagedClusterSetBinding, PersistentVolumeClaim, Placement
from federation.api.meta import Condition, is_true
from federation.api.ocm.addon import ManagedClusterAddOn
from federation.api.ocm.cluster import ManagedCluster
from federation.api.ocm.work import ManifestWork
from federation.api.run_status import COMPLETE, FAILED
from kubectl_fl.resources.pods import RunPod


class Verdict(Enum):
    """The result of one check."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    """The object could not be read or has not been reported yet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, with its remedy."""

    check: str
    verdict: Verdict
    detail: str
    """May contain text from a spoke: sanitize it before printing."""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for objects that could not be read, with the reason."""

    why: str


@dataclass(frozen=True, slots=True)
class RunObservation:
    """The hub's objects that concern one run."""

    run: FederatedLearning
    bindings: tuple[ManagedClusterSetBinding, ...] | Unreadable
    placement: Placement | Unreadable | None
    selected: tuple[str, ...] | Unreadable
    """The names of the clusters that the Placement selected."""
    clusters: tuple[ManagedCluster, ...] | Unreadable
    addons: tuple[ManagedClusterAddOn, ...] | Unreadable
    """The federated-learning add-on of each cluster."""
    works: tuple[ManifestWork, ...] | Unreadable
    """The ManifestWorks of this attempt."""
    pods: tuple[RunPod, ...] | Unreadable
    """The aggregator pods of this attempt."""
    claim: PersistentVolumeClaim | Unreadable | None

    @property
    def started(self) -> bool:
        """Report whether the cohort is fixed."""
        return bool(self.run.status.cohort)

    @property
    def ended(self) -> bool:
        """Report whether the run has ended for its current generation."""
        status = self.run.status
        over = is_true(status.conditions, COMPLETE) or is_true(status.conditions, FAILED)
        return over and status.observed_generation >= self.run.metadata.generation


def ok(check: str, detail: str) -> Finding:
    """Return a finding for a passed check."""
    return Finding(check, Verdict.OK, detail)


def problem(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding for a problem that blocks the run or the cluster."""
    return Finding(check, Verdict.PROBLEM, detail, remedy)


def unknown(check: str, detail: str, remedy: str = "") -> Finding:
    """Return a finding for a check that could not be decided."""
    return Finding(check, Verdict.UNKNOWN, detail, remedy)


T = TypeVar("T")


def readable(seen: tuple[T, ...] | Unreadable) -> tuple[T, ...]:
    """Return the objects, or an empty tuple if they could not be read."""
    return () if isinstance(seen, Unreadable) else seen


def describe_condition(condition: Condition) -> str:
    """Return a condition's reason and message."""
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason
