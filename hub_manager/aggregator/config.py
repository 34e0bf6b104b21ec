"""What the aggregator is told, read at its start: the run, the cohort, the user's plan as data, and a first model.

All of it comes in mounted files (`federation.api.aggregator_run`). The terms of a run are written to its folder at the
first start and read from there ever after: a run goes on under the terms that it began with, whatever is mounted.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from federation.api import aggregator_run
from federation.api.federated_learning import Aggregation as AskedAggregation
from federation.exported_plan import PLAN_FILE, ExportedPlan, PlanNotUnderstood, decode
from federation.rpc.tls import Files
from hub_manager.aggregator.domain import MAX_WEIGHT, JoinPolicy, RunParameters, Task, TaskKind
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


CONFIG_ERROR: Final = "ConfigError"
"""Reason in the run's status for a `ConfigError`."""


class ConfigError(Exception):
    """The mounted configuration is missing or invalid; the message names the file and the field."""


@dataclass(frozen=True, slots=True)
class AggregatorFolders:
    """Where the pod mounts what; a test has its own."""

    run: Path = Path(aggregator_run.RUN_FOLDER)
    tls: Path = Path(aggregator_run.TLS_FOLDER)
    workspace: Path = Path(aggregator_run.WORKSPACE_FOLDER)

    @property
    def files(self) -> Files:
        """The aggregator's pair, and the authorities that collaborators come with."""
        return Files(self.tls / "tls.key", self.tls / "tls.crt", self.tls / "ca.crt")

    @property
    def cohort(self) -> Path:
        """The file that changes while the aggregator runs."""
        return self.run / aggregator_run.COHORT_FILE


@dataclass(frozen=True, slots=True)
class AggregatorConfig:
    """A run, as its aggregator was told of it."""

    run: aggregator_run.AggregatorRun
    parameters: RunParameters
    aggregation: Aggregation
    folder: Path
    """The run's own, on its volume."""
    initial_model: Path | None
    """A safetensors file out of the user's workspace, not looked into yet."""


def read_config(folders: AggregatorFolders) -> AggregatorConfig:
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
        _write_terms(kept, run_parameters(run, _read(folders.cohort, aggregator_run.Cohort), plan))
    first = folders.workspace / plan.first_model if plan.first_model else None
    return AggregatorConfig(run, _read(kept, RunParameters), aggregation_of(run.aggregation, plan), folder, first)


def read_run(folders: AggregatorFolders) -> aggregator_run.AggregatorRun:
    """What `run.json` says. Raises ConfigError."""
    return _read(folders.run / aggregator_run.RUN_FILE, aggregator_run.AggregatorRun)


def read_cohort(folders: AggregatorFolders) -> aggregator_run.Cohort:
    """Who takes part now. Raises ConfigError."""
    return _read(folders.cohort, aggregator_run.Cohort)


def run_parameters(
    run: aggregator_run.AggregatorRun, cohort: aggregator_run.Cohort, plan: ExportedPlan
) -> RunParameters:
    """What is settled for the run.

    A cohort has as long to gather as a round may take, and a round without a quorum goes on for as long again.

    Raises:
        ConfigError: They contradict themselves.
    """
    tasks = tuple(Task(task.name, TaskKind(task.kind.value)) for task in plan.tasks)
    try:
        return RunParameters(
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
        raise ConfigError(f"{aggregator_run.RUN_FILE}: {error}") from error


def aggregation_of(requested_from: AskedAggregation, plan: ExportedPlan) -> Aggregation:
    """How updates become the next model: as the run's resource says, or the plan where the resource has its default.

    Raises:
        ConfigError: There is no such algorithm.
    """
    steps: dict[str, tuple[Combination, Optimizer | None]] = {
        "WeightedMean": (WeightedMean(), None),
        "Median": (Median(), None),
        "TrimmedMean": (TrimmedMean(requested_from.trim_ratio), None),
        "Momentum": (WeightedMean(), Momentum(requested_from.learning_rate, requested_from.beta1)),
        "Adam": (
            WeightedMean(),
            Adam(requested_from.learning_rate, requested_from.beta1, requested_from.beta2, requested_from.epsilon),
        ),
        "Yogi": (
            WeightedMean(),
            Yogi(requested_from.learning_rate, requested_from.beta1, requested_from.beta2, requested_from.epsilon),
        ),
    }
    algorithm = plan.aggregation if requested_from.algorithm == "WeightedMean" else requested_from.algorithm
    if algorithm not in steps:
        raise ConfigError(f"unsupported aggregation.algorithm {algorithm!r}: set it to one of {', '.join(steps)}")
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
        raise ConfigError(
            f"{path}: {error.strerror}; set spec.client.image to an image that is built on a runtime's base image"
        ) from error
    except PlanNotUnderstood as error:
        raise ConfigError(f"{path}: {error}") from error


def _write_terms(path: Path, parameters: RunParameters) -> None:
    make_folder(path.parent)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(msgspec.json.encode(parameters))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)
