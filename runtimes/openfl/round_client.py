"""Adapt OpenFL's `Collaborator`, which requests single tensors, to the exchange, which transfers whole models.

In each round, the client downloads the global model once and serves OpenFL's requests from it. It reports a task's
metrics when the task ends, and uploads the update only after the round's last task. So a round with all updates also
has all metrics, and a site that restarts repeats the whole round without any state of the old process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import structlog
from openfl.protocols.aggregator_client_interface import AggregatorClientInterface
from openfl.protocols.base_pb2 import MetadataProto

from federation.model import ModelManifest, TensorSpec
from runtimes.kit.exchange import Ended, Exchange, InitialModelWork, RoundClosed, RoundWork
from runtimes.openfl.plan_settings import NO_BRIDGE

_NO_WAIT: Final = 0
"""Seconds that OpenFL sleeps when it gets no task; 0, because `get_tasks` waits itself."""

_FIRST_ROUND: Final = 1
"""The exchange counts rounds from 1; OpenFL, and so every task runner, from 0."""

_log = structlog.stdlib.get_logger(__name__)


class WorkspaceFault(Exception):
    """The user's workspace does not match the run; the message has the problem and the remedy."""


@dataclass(frozen=True, slots=True)
class ServedTensor:
    """Tensor of the global model in OpenFL's wire form, without a copy of the downloaded bytes."""

    name: str
    round_number: int
    report: bool
    tags: tuple[str, ...]
    transformer_metadata: tuple[Any, ...]
    data_bytes: memoryview


@dataclass(frozen=True, slots=True)
class _Update:
    task: str
    samples: int
    model: bytearray


@dataclass(slots=True)
class _Round:
    work: RoundWork
    model: memoryview
    update: _Update | None = None

    def is_openfl_round(self, number: int) -> bool:
        return self.work.round - _FIRST_ROUND == number


class RoundClient(AggregatorClientInterface):  # type: ignore[misc]  # openfl has no types
    """Client that OpenFL uses to call the aggregator.

    Args:
        exchange: The connection, already joined with this manifest.
        manifest: The tensors of the run's model.
        initial_model: This site's own initial model, in the manifest's layout; sent if the run has no model.
        known_tasks: The tasks of this collaborator's plan.
    """

    def __init__(
        self, exchange: Exchange, manifest: ModelManifest, initial_model: bytearray, known_tasks: Sequence[str]
    ) -> None:
        self._exchange = exchange
        self._manifest = manifest
        self._placed = {tensor.name: (tensor, begin) for tensor, begin in manifest.placed()}
        self._initial_model = initial_model
        self._known_tasks = frozenset(known_tasks)
        self._round: _Round | None = None
        self.current_task = ""
        """The task to name in a termination message."""

    @property
    def current_round(self) -> int | None:
        """The number of the current round, from 1 up."""
        return None if self._round is None else self._round.work.round

    def ping(self) -> None:
        """Do nothing: the exchange checks its own connection."""

    def get_tasks(self) -> tuple[list[str] | None, int, int, bool]:
        """Wait for work; return OpenFL's (tasks, round, seconds to sleep, time to quit).

        Raises:
            WorkspaceFault: The hub requests a task that this process's plan does not have.
        """
        self._round = None
        match self._exchange.next_work():
            case Ended(reason):
                _log.info("run_ended", reason=reason)
                return None, 0, _NO_WAIT, True
            case InitialModelWork():
                self._exchange.upload_initial_model(self._initial_model)
                _log.info("first_model_sent", bytes=self._manifest.nbytes)
                return None, 0, _NO_WAIT, False
            case RoundWork(number, tasks) as work:
                unknown = sorted(set(tasks) - self._known_tasks)
                if unknown:
                    raise WorkspaceFault(
                        f"the hub requests {', '.join(unknown)}, which the plan in this image does not have: the hub "
                        "exported the plan from another image; set spec.client.image to a digest"
                    )
                return self._begin(work), number - _FIRST_ROUND, _NO_WAIT, False

    def _begin(self, work: RoundWork) -> list[str]:
        try:
            model = memoryview(self._exchange.download(work.round)).cast("B").toreadonly()
        except RoundClosed as closed:
            _log.warning("round_missed", **_log_context(work), reason=str(closed))
            return []
        self._round = _Round(work, model)
        self.current_task = work.tasks[0] if work.tasks else ""
        event = "final_evaluation_begun" if work.final_evaluation else "round_begun"
        _log.info(event, **_log_context(work), tasks=list(work.tasks))
        return list(work.tasks)

    def get_aggregated_tensor(
        self, tensor_name: str, round_number: int, report: bool, tags: Sequence[str], require_lossless: bool
    ) -> ServedTensor:
        """Return a tensor of the round's global model.

        Raises:
            WorkspaceFault: The task runner requires a tensor that the global model does not have.
        """
        del require_lossless  # models are never compressed
        current = self._round
        found = self._placed.get(tensor_name)
        if current is None or found is None or not current.is_openfl_round(round_number) or tuple(tags) != ("model",):
            raise WorkspaceFault(
                f"the task runner requires {tensor_name!r} with tags {tuple(tags)} of round {round_number}, which the "
                "aggregator does not have: get_required_tensorkeys_for_function may return tensors of the global "
                "model and outputs of the task runner itself"
            )
        tensor, begin = found
        return ServedTensor(
            name=tensor_name,
            round_number=round_number,
            report=report,
            tags=("compressed", "model"),
            transformer_metadata=(MetadataProto(int_list=tensor.shape),),
            data_bytes=current.model[begin : begin + tensor.nbytes],
        )

    def send_local_task_results(
        self, round_number: int, task_name: str, data_size: int, named_tensors: Sequence[Any]
    ) -> None:
        """Report the task's metrics; store its tensors as the round's update; send the update after the last task.

        Raises:
            WorkspaceFault: The task's output is not an update of this model, or has no samples.
        """
        current = self._round
        if current is None or not current.is_openfl_round(round_number):
            raise WorkspaceFault(f"{task_name}: the result is not of the current round")
        metrics = {tensor.name: _number(task_name, tensor) for tensor in named_tensors if _is_metric(tensor)}
        tensors = {tensor.name: tensor for tensor in named_tensors if not _is_metric(tensor)}
        if data_size <= 0:
            raise WorkspaceFault(
                f"{task_name}: the data loader counts {data_size} samples: get_train_data_size and get_valid_data_size "
                "must return the number of samples, at least 1"
            )
        if tensors:
            current.update = _Update(task_name, data_size, self._laid_out(task_name, tensors))
        try:
            self._send(current, task_name, data_size, metrics)
        except RoundClosed as closed:
            _log.warning("round_missed", **_log_context(current.work), task=task_name, reason=str(closed))

    def _report(self, work: RoundWork, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics; if the aggregator rejects them, only log it, because the update counts without them.

        If the round has closed, the aggregator also rejects the update, before any of its bytes are sent.
        """
        try:
            self._exchange.report(work.round, task, samples, metrics)
        except RoundClosed as refused:
            _log.warning("metrics_refused", **_log_context(work), task=task, reason=str(refused))

    def _send(self, current: _Round, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        number, tasks = current.work.round, current.work.tasks
        if metrics:
            self._report(current.work, task, samples, metrics)
        if task != tasks[-1]:
            self.current_task = tasks[tasks.index(task) + 1]
        elif current.update is not None:
            update, current.update = current.update, None
            self._exchange.upload(number, update.task, update.samples, update.model)
            _log.info("update_sent", round=number, task=update.task, samples=update.samples)

    def _laid_out(self, task: str, tensors: Mapping[str, Any]) -> bytearray:
        missing = sorted(self._placed.keys() - tensors.keys())
        extra = sorted(tensors.keys() - self._placed.keys())
        if missing or extra:
            raise WorkspaceFault(
                f"{task}: not the tensors of the model (missing: {', '.join(missing) or 'none'}; "
                f"extra: {', '.join(extra) or 'none'}): return those of get_tensor_dict from the training task"
            )
        model = bytearray(self._manifest.nbytes)
        for tensor, begin in self._manifest.placed():
            model[begin : begin + tensor.nbytes] = _values(task, tensor, tensors[tensor.name])
        return model

    def send_message_to_server(self, openfl_message: Any, collaborator_name: str) -> Any:
        """Reject OpenFL's bridge to Flower, which `plan_settings` also rejects.

        Raises:
            WorkspaceFault: Always.
        """
        del openfl_message, collaborator_name
        raise WorkspaceFault(NO_BRIDGE)


def _log_context(work: RoundWork) -> dict[str, int | bool]:
    """Return the log keys of this work; the final evaluation is not a round, so it has no number."""
    return {"final_evaluation": True} if work.final_evaluation else {"round": work.round}


def _is_metric(tensor: Any) -> bool:
    return tensor.report or "metric" in tensor.tags


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.transformer_metadata[0].int_list)


def _number(task: str, tensor: Any) -> float:
    values = np.frombuffer(tensor.data_bytes, dtype="<f4")
    if values.size != 1:
        raise WorkspaceFault(f"{task}: the metric {tensor.name!r} has {values.size} values: a metric is one number")
    return float(values[0])


def _values(task: str, expected: TensorSpec, tensor: Any) -> bytes:
    if _shape(tensor) != expected.shape:
        raise WorkspaceFault(
            f"{task}: {expected.name!r} has the shape {_shape(tensor)} instead of {expected.shape}: training must not "
            "change the model's shape"
        )
    return bytes(tensor.data_bytes)
