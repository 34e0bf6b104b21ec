"""A workspace's plan as the hub gets it: data that a runtime has written out in the user's image (`export`).

The aggregator runs none of the user's code; this document, and the first model beside it, is all it has of a workspace.
It comes out of a stranger's image and is hostile until `decode` has passed it: bounds are those that a plan needs, and
the model's file has one name, so that none leads elsewhere.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

PLAN_FILE: Final = "plan.json"
MODEL_FILE: Final = "first-model.safetensors"
LARGEST: Final = 1 << 20
"""Bytes of a document that is read at all."""

_Name = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
_Text = Annotated[str, Meta(max_length=1000)]


class PlanNotUnderstood(Exception):
    """The document is no exported plan; the message names the field."""


class TaskKind(StrEnum):
    """What a task does, as in the exchange (`proto/federation/v1/exchange.proto`)."""

    VALIDATE_AGGREGATED = "ValidateAggregated"
    """Evaluates the global model on the site's data."""
    TRAIN = "Train"
    """Trains from the global model, and puts out the update; the others put out metrics alone."""
    VALIDATE_LOCAL = "ValidateLocal"
    """Evaluates the model just trained here on the site's data."""


class PlannedTask(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A task of each round, in the order in which a collaborator does them."""

    name: _Name
    kind: TaskKind


class TaskGroup(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A group of tasks, done by this share of the cohort: by all of it, in what is supported today."""

    name: Annotated[str, Meta(max_length=253)]
    share: Literal[1]
    tasks: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=64)]


class ExportedPlan(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What the hub needs of a plan."""

    rounds: Annotated[int, Meta(ge=1, le=1_000_000)]
    tasks: Annotated[tuple[PlannedTask, ...], Meta(min_length=1, max_length=64)]
    groups: Annotated[tuple[TaskGroup, ...], Meta(min_length=1, max_length=1)]
    aggregation: Literal["WeightedMean", "Median"] = "WeightedMean"
    """How the updates become the next model, in the words of `spec.server.aggregation.algorithm`."""
    compression: Literal["None"] = "None"
    """Models travel whole."""
    replaced: Annotated[tuple[_Text, ...], Meta(max_length=1000)] = ()
    """Settings of the plan that have no effect, because the product does in its own way what they are about."""
    initial_model: Literal["", "first-model.safetensors"] = msgspec.field(name="firstModel", default="")
    """The file with the run's initial model, in the same folder; empty if the workspace provides none."""
    initial_model_absent: _Text = msgspec.field(name="firstModelAbsent", default="")
    """The reason for which the workspace provides no initial model."""
    framework: _Name = "openfl"
    version: Literal[1] = 1
    """Of this format."""


def encode(plan: ExportedPlan) -> bytes:
    """The document."""
    return msgspec.json.encode(plan)


def decode(document: bytes) -> ExportedPlan:
    """The plan in a document of whatever origin.

    Raises:
        PlanNotUnderstood: It is none, or one that contradicts itself.
    """
    if len(document) > LARGEST:
        raise PlanNotUnderstood(f"{len(document)} bytes: a plan has at most {LARGEST}")
    try:
        plan = msgspec.json.decode(document, type=ExportedPlan)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlanNotUnderstood(str(error)) from error
    names = [task.name for task in plan.tasks]
    if len(set(names)) != len(names) or set(plan.groups[0].tasks) != set(names):
        raise PlanNotUnderstood("tasks: each once, and those of the group")
    if [task.kind for task in plan.tasks].count(TaskKind.TRAIN) != 1:
        raise PlanNotUnderstood("tasks: exactly one trains")
    return plan
