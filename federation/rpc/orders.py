"""Convert the aggregator's messages into the client's types, and the client's into messages.

Deadlines arrive as remaining seconds and are converted to the clock of this process, so that clocks need not agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from federation.exported_plan import TaskKind
from federation.model import DType, ModelManifest, TensorSpec
from federation.rpc.gen import exchange_pb2 as pb


class NotUnderstood(Exception):
    """The aggregator sent a value that this version of the client does not support."""


TASK_KINDS: Final[Mapping[TaskKind, "pb.TaskKind.ValueType"]] = {
    TaskKind.VALIDATE_AGGREGATED: pb.TASK_KIND_VALIDATE_AGGREGATED,
    TaskKind.TRAIN: pb.TASK_KIND_TRAIN,
    TaskKind.VALIDATE_LOCAL: pb.TASK_KIND_VALIDATE_LOCAL,
}
"""The kind of a task of the plan, and its value on the wire."""


@dataclass(frozen=True, slots=True)
class Task:
    """Task of the user's plan."""

    name: str
    kind: TaskKind


@dataclass(frozen=True, slots=True)
class Blob:
    """Size and digest of a model's bytes."""

    size: int
    digest: str
    """As returned by `federation.model.digest_of`."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Order to wait."""

    round: int


@dataclass(frozen=True, slots=True)
class ProvideModel:
    """Order to send the run's initial model."""

    deadline: float = field(compare=False)
    """Seconds of the client's clock; ignored in comparisons, so that a repeated order equals the first one."""


@dataclass(frozen=True, slots=True)
class Round:
    """Order to do the tasks of the open round."""

    round: int
    model: Blob
    tasks: tuple[Task, ...]
    deadline: float = field(compare=False)
    """Seconds of the client's clock; ignored in comparisons, so that a repeated order equals the first one."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run has ended; this is the last order."""

    completed: bool
    message: str
    model: Blob | None


Order: TypeAlias = Wait | ProvideModel | Round | RunEnded


@dataclass(frozen=True, slots=True)
class Update:
    """Description of an upload."""

    round: int
    """0 for the run's initial model."""
    task: str
    """The task that trained it, `""` for an initial model."""
    samples: int
    """The number of training samples, which is the update's weight; 0 for an initial model."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Parameters of the run that a collaborator has joined."""

    rounds: int
    manifest: ModelManifest | None
    """None until the run has a model."""


def order_of(message: pb.WorkOrder, *, now: float) -> Order:
    """Convert a message into an order.

    Args:
        message: The received message.
        now: Seconds of the client's clock.

    Raises:
        NotUnderstood: The kind of the order, or of one of its tasks, is unsupported.
    """
    match message.WhichOneof("order"):
        case "wait":
            return Wait(message.wait.round)
        case "provide_model":
            return ProvideModel(now + message.provide_model.seconds_left)
        case "round":
            due = message.round
            return Round(due.round, _blob(due.model), _tasks(due.tasks), now + due.seconds_left)
        case "run_ended":
            ended = message.run_ended
            return RunEnded(ended.completed, ended.message, _blob(ended.model) if ended.HasField("model") else None)
        case _:
            raise NotUnderstood("the aggregator sent an unsupported order; use an image of the aggregator's version")


def joined_of(message: pb.JoinReply) -> Joined:
    """Convert the reply; raise NotUnderstood for an unsupported element type."""
    if not message.HasField("manifest"):
        return Joined(message.rounds, None)
    try:
        tensors = [TensorSpec(t.name, DType(t.dtype), tuple(t.shape)) for t in message.manifest.tensors]
    except ValueError as error:
        raise NotUnderstood(f"the run's model has an unsupported element type: {error}") from error
    return Joined(message.rounds, ModelManifest(tuple(tensors)))


def manifest_message(manifest: ModelManifest) -> pb.ModelManifest:
    """Convert the manifest into a message."""
    return pb.ModelManifest(
        tensors=[pb.TensorSpec(name=t.name, dtype=t.dtype.value, shape=t.shape) for t in manifest.tensors]
    )


def _blob(message: pb.Blob) -> Blob:
    return Blob(message.bytes, message.digest)


def _tasks(messages: Sequence[pb.Task]) -> tuple[Task, ...]:
    known = {value: kind for kind, value in TASK_KINDS.items()}
    unknown = [message.name for message in messages if message.kind not in known]
    if unknown:
        raise NotUnderstood(f"tasks of an unsupported kind: {', '.join(unknown)}")
    return tuple(Task(message.name, known[message.kind]) for message in messages)
