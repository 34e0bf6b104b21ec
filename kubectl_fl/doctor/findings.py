"""What was seen of a run and its clusters, and what is found in it. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from federation.api.addon import ManagedClusterAddOn
from federation.api.cluster import ManagedCluster
from federation.api.federated_learning import FederatedLearning
from federation.api.meta import Condition, is_true
from federation.api.run_objects import ManagedClusterSetBinding, PersistentVolumeClaim, Placement
from federation.api.run_status import COMPLETE, FAILED
from federation.api.work import ManifestWork
from kubectl_fl.resources.pods import RunPod


class Verdict(Enum):
    """How one thing stands."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"
    """It could not be read, or nobody has said yet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    detail: str
    """May hold a site's own words: nothing of it is safe to print as it is."""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What could not be read, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class RunObservation:
    """What was read of the hub for one run."""

    run: FederatedLearning
    bindings: tuple[ManagedClusterSetBinding, ...] | Unreadable
    placement: Placement | Unreadable | None
    selected: tuple[str, ...] | Unreadable
    """The clusters that the placement has chosen, by name."""
    clusters: tuple[ManagedCluster, ...] | Unreadable
    addons: tuple[ManagedClusterAddOn, ...] | Unreadable
    """The federated-learning add-on of every cluster that has it."""
    works: tuple[ManifestWork, ...] | Unreadable
    """Of this attempt."""
    pods: tuple[RunPod, ...] | Unreadable
    """The aggregator's, of this attempt."""
    claim: PersistentVolumeClaim | Unreadable | None

    @property
    def started(self) -> bool:
        """Whether the cohort is fixed."""
        return bool(self.run.status.cohort)

    @property
    def ended(self) -> bool:
        """Whether the run is over, as far as the present spec goes."""
        status = self.run.status
        over = is_true(status.conditions, COMPLETE) or is_true(status.conditions, FAILED)
        return over and status.observed_generation >= self.run.metadata.generation


def ok(check: str, detail: str) -> Finding:
    """It is as it has to be."""
    return Finding(check, Verdict.OK, detail)


def problem(check: str, detail: str, remedy: str) -> Finding:
    """It keeps the run from starting, or the cluster from taking part."""
    return Finding(check, Verdict.PROBLEM, detail, remedy)


def unknown(check: str, detail: str, remedy: str = "") -> Finding:
    """It can't be told."""
    return Finding(check, Verdict.UNKNOWN, detail, remedy)


T = TypeVar("T")


def readable(seen: tuple[T, ...] | Unreadable) -> tuple[T, ...]:
    """What could be read; nothing where nothing could."""
    return () if isinstance(seen, Unreadable) else seen


def describe_condition(condition: Condition) -> str:
    """A condition's reason and message."""
    return f"{condition.reason}: {condition.message}" if condition.message else condition.reason
