"""What the aggregator is told, read at its start: the run, the cohort, the user's plan as data, and a first model.

All of it comes in mounted files (`federation.api.aggregator_run`). The terms of a run are written to its folder at the
first start and read from there ever after: a run goes on under the terms that it began with, whatever is mounted.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from federation.api import aggregator_run as told
from federation.api.federated_learning import Aggregation as AskedAggregation
from federation.exported_plan import PLAN_FILE, ExportedPlan, PlanNotUnderstood, decode
from federation.rpc.tls import Files
from hub_manager.aggregator.domain import MAX_WEIGHT, JoinPolicy, Task, TaskKind, Terms
from hub_manager.aggregator.numerics.algorithms import (
    Adam,
    Aggregation,
    Combination,
    Median,
    Momentum,
    Optimizer,
    TrimmedMean,
    WeightedMean,
    Yogi,
)
from hub_manager.aggregator.storage.volume import make_folder, sync_folder

TERMS_FILE: Final = "terms.json"

T = TypeVar("T")


class ConfigError(Exception):
    """The aggregator can't start with what it is told; the message names the file and the field."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the pod mounts what; a test has its own."""

    run: Path = Path(told.RUN_FOLDER)
    tls: Path = Path(told.TLS_FOLDER)
    workspace: Path = Path(told.WORKSPACE_FOLDER)

    @property
    def files(self) -> Files:
        """The aggregator's pair, and the authorities that collaborators come with."""
        return Files(self.tls / "tls.key", self.tls / "tls.crt", self.tls / "ca.crt")

    @property
    def cohort(self) -> Path:
        """The file that changes while the aggregator runs."""
        return self.run / told.COHORT_FILE


@dataclass(frozen=True, slots=True)
class Config:
    """A run, as its aggregator was told of it."""

    run: told.AggregatorRun
    terms: Terms
    aggregation: Aggregation
    folder: Path
    """The run's own, on its volume."""
    first_model: Path | None
    """A safetensors file out of the user's workspace, not looked into yet."""


def read_config(folders: Folders) -> Config:
    """What the mounted files say; the terms, where the run's folder has them, are those.

    Raises:
        ConfigError: A file is missing, or can't be understood.
        OSError: The volume failed.
    """
    run = read_run(folders)
    plan = _read_plan(folders.workspace / PLAN_FILE)
    folder = Path(run.folder)
    kept = folder / TERMS_FILE
    if not kept.exists():
        _write_terms(kept, terms_of(run, _read(folders.cohort, told.Cohort), plan))
    first = folders.workspace / plan.first_model if plan.first_model else None
    return Config(run, _read(kept, Terms), aggregation_of(run.aggregation, plan), folder, first)


def read_run(folders: Folders) -> told.AggregatorRun:
    """What `run.json` says. Raises ConfigError."""
    return _read(folders.run / told.RUN_FILE, told.AggregatorRun)


def read_cohort(folders: Folders) -> told.Cohort:
    """Who takes part now. Raises ConfigError."""
    return _read(folders.cohort, told.Cohort)


def terms_of(run: told.AggregatorRun, cohort: told.Cohort, plan: ExportedPlan) -> Terms:
    """What is settled for the run.

    A cohort has as long to gather as a round may take, and a round without a quorum goes on for as long again.

    Raises:
        ConfigError: They contradict themselves.
    """
    tasks = tuple(Task(task.name, TaskKind(task.kind.value)) for task in plan.tasks)
    try:
        return Terms(
            cohort=tuple(sorted(set(cohort.members))),
            rounds=run.rounds,
            quorum=run.min_clients_per_round,
            tasks=tasks,
            round_seconds=float(run.round_timeout_seconds),
            gather_seconds=float(run.round_timeout_seconds),
            extension_seconds=float(run.round_timeout_seconds),
            max_weight=run.max_samples_per_client or MAX_WEIGHT,
            join_policy=JoinPolicy(run.join_policy or JoinPolicy.FROZEN.value),
        )
    except ValueError as error:
        raise ConfigError(f"{told.RUN_FILE}: {error}") from error


def aggregation_of(asked: AskedAggregation, plan: ExportedPlan) -> Aggregation:
    """How updates become the next model: as the run's resource says, or the plan where the resource has its default.

    Raises:
        ConfigError: There is no such algorithm.
    """
    steps: dict[str, tuple[Combination, Optimizer | None]] = {
        "WeightedMean": (WeightedMean(), None),
        "Median": (Median(), None),
        "TrimmedMean": (TrimmedMean(asked.trim_ratio), None),
        "Momentum": (WeightedMean(), Momentum(asked.learning_rate, asked.beta1)),
        "Adam": (WeightedMean(), Adam(asked.learning_rate, asked.beta1, asked.beta2, asked.epsilon)),
        "Yogi": (WeightedMean(), Yogi(asked.learning_rate, asked.beta1, asked.beta2, asked.epsilon)),
    }
    algorithm = plan.aggregation if asked.algorithm == "WeightedMean" else asked.algorithm
    if algorithm not in steps:
        raise ConfigError(f"aggregation.algorithm: {algorithm!r} is none of {', '.join(steps)}")
    return Aggregation(*steps[algorithm])


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_plan(path: Path) -> ExportedPlan:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; spec.client.image has to derive from a runtime's base") from error
    except PlanNotUnderstood as error:
        raise ConfigError(f"{path}: {error}") from error


def _write_terms(path: Path, terms: Terms) -> None:
    make_folder(path.parent)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(msgspec.json.encode(terms))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)
