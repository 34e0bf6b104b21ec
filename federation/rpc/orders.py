"""What a collaborator is told to do, as values: the client's side of the exchange's messages.

Deadlines arrive as seconds that are left and are kept in the clock of this process, so that no two clocks need agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from federation.model import DType, ModelManifest, TensorSpec
from federation.rpc.gen import exchange_pb2 as pb


class NotUnderstood(Exception):
    """The aggregator says something that this version of the client does not know."""


class TaskKind(Enum):
    """What a task of the user's plan does."""

    VALIDATE_AGGREGATED = pb.TASK_KIND_VALIDATE_AGGREGATED
    TRAIN = pb.TASK_KIND_TRAIN
    VALIDATE_LOCAL = pb.TASK_KIND_VALIDATE_LOCAL


@dataclass(frozen=True, slots=True)
class Task:
    """One task of the user's plan."""

    name: str
    kind: TaskKind


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of a model, by what they are."""

    size: int
    digest: str
    """As `federation.model.digest_of` writes it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is due."""

    round: int


@dataclass(frozen=True, slots=True)
class ProvideModel:
    """The run's first model is this collaborator's to give."""

    deadline: float = field(compare=False)
    """Seconds of the client's clock. Two orders that differ in it alone are one order, told again."""


@dataclass(frozen=True, slots=True)
class Round:
    """A round is open, and this collaborator's part of it is due."""

    round: int
    model: Blob
    tasks: tuple[Task, ...]
    deadline: float = field(compare=False)
    """Seconds of the client's clock. Two orders that differ in it alone are one order, told again."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over; no order follows."""

    completed: bool
    message: str
    model: Blob | None


Order: TypeAlias = Wait | ProvideModel | Round | RunEnded


@dataclass(frozen=True, slots=True)
class Update:
    """What an upload is."""

    round: int
    """0 for the run's first model."""
    task: str
    """The task that made it, `""` for a first model."""
    samples: int
    """How many the site trained on: the update's weight; 0 for a first model."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What a collaborator that has joined is told of the run."""

    rounds: int
    manifest: ModelManifest | None
    """None as long as the run has no model."""


def order_of(message: pb.WorkOrder, *, now: float) -> Order:
    """The order in the message.

    Args:
        message: As it came.
        now: Seconds of the client's clock.

    Raises:
        NotUnderstood: It is an order, or has a task, of a kind that we don't know; none is guessed at.
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
            raise NotUnderstood("an order that this client does not know; take an image as new as the aggregator's")


def joined_of(message: pb.JoinReply) -> Joined:
    """What the reply says; raises NotUnderstood for an element type that we don't know."""
    if not message.HasField("manifest"):
        return Joined(message.rounds, None)
    try:
        tensors = [TensorSpec(t.name, DType(t.dtype), tuple(t.shape)) for t in message.manifest.tensors]
    except ValueError as error:
        raise NotUnderstood(f"the run's model has an element type that this client does not know: {error}") from error
    return Joined(message.rounds, ModelManifest(tuple(tensors)))


def manifest_message(manifest: ModelManifest) -> pb.ModelManifest:
    """The manifest on the wire."""
    return pb.ModelManifest(
        tensors=[pb.TensorSpec(name=t.name, dtype=t.dtype.value, shape=t.shape) for t in manifest.tensors]
    )


def _blob(message: pb.Blob) -> Blob:
    return Blob(message.bytes, message.digest)


def _tasks(messages: Sequence[pb.Task]) -> tuple[Task, ...]:
    known = {kind.value: kind for kind in TaskKind}
    unknown = [message.name for message in messages if message.kind not in known]
    if unknown:
        raise NotUnderstood(f"tasks of a kind that this client does not know: {', '.join(unknown)}")
    return tuple(Task(message.name, known[message.kind]) for message in messages)
