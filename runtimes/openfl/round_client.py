"""Between OpenFL's `Collaborator`, which asks tensor by tensor, and the exchange, which carries whole models.

A round goes: the work comes, the global model is downloaded once, OpenFL takes its tensors from it; each task's metrics
are reported as the task ends; the update is held back until the round's last task has ended, and is then uploaded. So
a round whose updates are all in has all of its metrics too, and a site that dies on the way does the whole round again:
nothing that only a dead process knew is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import structlog
from openfl.protocols.aggregator_client_interface import AggregatorClientInterface
from openfl.protocols.base_pb2 import MetadataProto

from federation.model import ModelManifest, TensorSpec
from runtimes.kit.exchange import Ended, Exchange, InitialModelWanted, RoundClosed, RoundWork
from runtimes.openfl.plan_settings import NO_BRIDGE

_NO_WAIT: Final = 0
"""Seconds that OpenFL sleeps when it is handed no task; ours waits inside of `get_tasks` instead."""

_FIRST_ROUND: Final = 1
"""The exchange counts rounds from 1, OpenFL, and so every task runner, from 0."""

_log = structlog.stdlib.get_logger(__name__)


class WorkspaceFault(Exception):
    """What the user's workspace did doesn't fit the run; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class ServedTensor:
    """A tensor of the global model as OpenFL expects it from the wire, over the downloaded bytes themselves."""

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
    """OpenFL's view of the aggregator.

    Args:
        exchange: the connection; joined already, with this manifest.
        manifest: what the run's model is made of.
        initial_model: this site's own initial model, laid out; for a run that has none.
        known_tasks: the tasks of the plan that this collaborator has.
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
        """For whoever has to say where a run failed."""

    @property
    def current_round(self) -> int | None:
        """The number of the round that is being worked on, from 1 up."""
        return None if self._round is None else self._round.work.round

    def ping(self) -> None:
        """Nothing: the exchange looks after its connection."""

    def get_tasks(self) -> tuple[list[str] | None, int, int, bool]:
        """Waits for work; returns OpenFL's (tasks, round, seconds to sleep, time to quit).

        Raises:
            WorkspaceFault: The hub asks for a task that the plan of this process hasn't.
        """
        self._round = None
        match self._exchange.next_work():
            case Ended(reason):
                _log.info("run_ended", reason=reason)
                return None, 0, _NO_WAIT, True
            case InitialModelWanted():
                self._exchange.upload_initial_model(self._initial_model)
                _log.info("first_model_sent", bytes=self._manifest.nbytes)
                return None, 0, _NO_WAIT, False
            case RoundWork(number, tasks) as work:
                unknown = sorted(set(tasks) - self._known_tasks)
                if unknown:
                    raise WorkspaceFault(
                        f"the hub asks for {', '.join(unknown)}, which the plan here hasn't: this image is not the "
                        "one that the hub has exported: name it by its digest"
                    )
                return self._begin(work), number - _FIRST_ROUND, _NO_WAIT, False

    def _begin(self, work: RoundWork) -> list[str]:
        try:
            model = memoryview(self._exchange.download(work.round)).cast("B").toreadonly()
        except RoundClosed as closed:
            _log.warning("round_missed", round=work.round, reason=str(closed))
            return []
        self._round = _Round(work, model)
        self.current_task = work.tasks[0] if work.tasks else ""
        _log.info("round_begun", round=work.round, tasks=list(work.tasks))
        return list(work.tasks)

    def get_aggregated_tensor(
        self, tensor_name: str, round_number: int, report: bool, tags: Sequence[str], require_lossless: bool
    ) -> ServedTensor:
        """A tensor of the round's global model.

        Raises:
            WorkspaceFault: The task runner asks for a tensor that is in no global model.
        """
        del require_lossless  # nothing here loses anything
        current = self._round
        found = self._placed.get(tensor_name)
        if current is None or found is None or not current.is_openfl_round(round_number) or tuple(tags) != ("model",):
            raise WorkspaceFault(
                f"the task runner requires {tensor_name!r} with tags {tuple(tags)} of round {round_number}, which no "
                "aggregator has: get_required_tensorkeys_for_function may ask for the round's global model, and for "
                "what the task runner itself has put out"
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
        """Reports the task's metrics; keeps its tensors as the round's update; sends that after the last task.

        Raises:
            WorkspaceFault: What the task put out is no update of this model, or has no weight.
        """
        current = self._round
        if current is None or not current.is_openfl_round(round_number):
            raise WorkspaceFault(f"{task_name}: a result of another round than the one that is open")
        metrics = {tensor.name: _number(task_name, tensor) for tensor in named_tensors if _is_metric(tensor)}
        tensors = {tensor.name: tensor for tensor in named_tensors if not _is_metric(tensor)}
        if data_size <= 0:
            raise WorkspaceFault(
                f"{task_name}: the data loader counts {data_size} samples: get_train_data_size and get_valid_data_size "
                "have to return how many there are, at least 1"
            )
        if tensors:
            current.update = _Update(task_name, data_size, self._laid_out(task_name, tensors))
        try:
            self._send(current, task_name, data_size, metrics)
        except RoundClosed as closed:
            _log.warning("round_missed", round=current.work.round, task=task_name, reason=str(closed))

    def _report(self, number: int, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Metrics that are refused are no reason to hold back the update, which counts without them.

        If it is the round that has closed, the aggregator says so again before a byte of the update is sent.
        """
        try:
            self._exchange.report(number, task, samples, metrics)
        except RoundClosed as refused:
            _log.warning("metrics_refused", round=number, task=task, reason=str(refused))

    def _send(self, current: _Round, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        number, tasks = current.work.round, current.work.tasks
        if metrics:
            self._report(number, task, samples, metrics)
        if task != tasks[-1]:
            self.current_task = tasks[tasks.index(task) + 1]
        elif current.update is not None:
            made, current.update = current.update, None
            self._exchange.upload(number, made.task, made.samples, made.model)
            _log.info("update_sent", round=number, task=made.task, samples=made.samples)

    def _laid_out(self, task: str, tensors: Mapping[str, Any]) -> bytearray:
        missing = sorted(self._placed.keys() - tensors.keys())
        extra = sorted(tensors.keys() - self._placed.keys())
        if missing or extra:
            raise WorkspaceFault(
                f"{task}: not the tensors of the model (missing: {', '.join(missing) or 'none'}; "
                f"more: {', '.join(extra) or 'none'}): the task that trains returns those of get_tensor_dict, no others"
            )
        model = bytearray(self._manifest.nbytes)
        for tensor, begin in self._manifest.placed():
            model[begin : begin + tensor.nbytes] = _values(task, tensor, tensors[tensor.name])
        return model

    def send_message_to_server(self, openfl_message: Any, collaborator_name: str) -> Any:
        """OpenFL's bridge to Flower, which `plan` refuses.

        Raises:
            WorkspaceFault: Always.
        """
        del openfl_message, collaborator_name
        raise WorkspaceFault(NO_BRIDGE)


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
