"""Configuration of the aggregator, read at its start: the run, the cohort, the exported plan and the initial model.

All of it is in mounted files (`federation.api.aggregator_run`). The first start writes the run's parameters to the
run's folder, and every later start reads them from there, so changed mounts don't affect a run that has started.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from federation.api import aggregator_run
from federation.api.federated_learning import Aggregation as AggregationSpec
from federation.exported_plan import PLAN_FILE, ExportedPlan, PlanNotUnderstood, decode
from federation.rpc.tls import Files
from hub_manager.aggregator.domain import MAX_WEIGHT, JoinPolicy, RunParameters, Task
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
    """Folders that the pod mounts; tests set their own."""

    run: Path = Path(aggregator_run.RUN_FOLDER)
    tls: Path = Path(aggregator_run.TLS_FOLDER)
    workspace: Path = Path(aggregator_run.WORKSPACE_FOLDER)

    @property
    def files(self) -> Files:
        """The aggregator's key and certificate, and the CA certificates that verify collaborators."""
        return Files(self.tls / "tls.key", self.tls / "tls.crt", self.tls / "ca.crt")

    @property
    def cohort(self) -> Path:
        """The file with the cohort, which changes during the run."""
        return self.run / aggregator_run.COHORT_FILE


@dataclass(frozen=True, slots=True)
class AggregatorConfig:
    """Configuration of one run's aggregator."""

    run: aggregator_run.AggregatorRun
    parameters: RunParameters
    aggregation: Aggregation
    folder: Path
    """Folder of the run on its volume."""
    initial_model: Path | None
    """Safetensors file from the user's workspace, not validated yet."""


def read_config(folders: AggregatorFolders) -> AggregatorConfig:
    """Read the mounted files, and store the run's parameters or read the stored ones.

    Raises:
        ConfigError: A file is missing or invalid.
        OSError: The volume failed.
    """
    run = read_run(folders)
    plan = _read_plan(folders.workspace / PLAN_FILE)
    folder = Path(run.folder)
    terms_path = folder / TERMS_FILE
    if not terms_path.exists():
        _write_terms(terms_path, run_parameters(run, _read(folders.cohort, aggregator_run.Cohort), plan))
    initial_model = folders.workspace / plan.initial_model if plan.initial_model else None
    parameters = _read(terms_path, RunParameters)
    return AggregatorConfig(run, parameters, aggregation_of(run.aggregation, plan), folder, initial_model)


def read_run(folders: AggregatorFolders) -> aggregator_run.AggregatorRun:
    """Read `run.json`; raise ConfigError if it is missing or invalid."""
    return _read(folders.run / aggregator_run.RUN_FILE, aggregator_run.AggregatorRun)


def read_cohort(folders: AggregatorFolders) -> aggregator_run.Cohort:
    """Read the file with the cohort; raise ConfigError if it is missing or invalid."""
    return _read(folders.cohort, aggregator_run.Cohort)


def run_parameters(
    run: aggregator_run.AggregatorRun, cohort: aggregator_run.Cohort, plan: ExportedPlan
) -> RunParameters:
    """Build the run's parameters.

    The round timeout also limits the time for which the cohort gathers, and the extension of a round without a quorum.

    Raises:
        ConfigError: A parameter is invalid.
    """
    tasks = tuple(Task(task.name, task.kind) for task in plan.tasks)
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


def aggregation_of(spec: AggregationSpec, plan: ExportedPlan) -> Aggregation:
    """Build the aggregation from the run's resource, or from the plan if the resource has the default algorithm.

    Raises:
        ConfigError: The algorithm is unsupported.
    """
    steps: dict[str, tuple[Combination, Optimizer | None]] = {
        "WeightedMean": (WeightedMean(), None),
        "Median": (Median(), None),
        "TrimmedMean": (TrimmedMean(spec.trim_ratio), None),
        "Momentum": (WeightedMean(), Momentum(spec.learning_rate, spec.beta1)),
        "Adam": (
            WeightedMean(),
            Adam(spec.learning_rate, spec.beta1, spec.beta2, spec.epsilon),
        ),
        "Yogi": (
            WeightedMean(),
            Yogi(spec.learning_rate, spec.beta1, spec.beta2, spec.epsilon),
        ),
    }
    algorithm = plan.aggregation if spec.algorithm == "WeightedMean" else spec.algorithm
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
