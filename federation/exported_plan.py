"""Define the document of a workspace's plan, which a runtime exports in the user's image for the hub.

The aggregator runs no user code; it has only this document and the initial model of a workspace. The document comes
from an untrusted image, so `decode` limits every field, and the model's file has a fixed name, which excludes paths.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

PLAN_FILE: Final = "plan.json"
MODEL_FILE: Final = "first-model.safetensors"
LARGEST: Final = 1 << 20
"""Maximum bytes of a document."""

_Name = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
_Text = Annotated[str, Meta(max_length=1000)]


class PlanNotUnderstood(Exception):
    """The document is not a valid exported plan; the message names the field."""


class TaskKind(StrEnum):
    """Kind of a task, as in the exchange (`proto/federation/v1/exchange.proto`)."""

    VALIDATE_AGGREGATED = "ValidateAggregated"
    """Evaluates the global model on the site's data."""
    TRAIN = "Train"
    """Trains from the global model and returns the update; the other kinds return only metrics."""
    VALIDATE_LOCAL = "ValidateLocal"
    """Evaluates the model that this site has just trained on the site's data."""


class PlannedTask(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Task of every round."""

    name: _Name
    kind: TaskKind


class TaskGroup(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Group of tasks for a share of the cohort; only the whole cohort is supported."""

    name: Annotated[str, Meta(max_length=253)]
    share: Literal[1]
    tasks: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=64)]


class ExportedPlan(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Data of a plan that the hub needs."""

    rounds: Annotated[int, Meta(ge=1, le=1_000_000)]
    tasks: Annotated[tuple[PlannedTask, ...], Meta(min_length=1, max_length=64)]
    groups: Annotated[tuple[TaskGroup, ...], Meta(min_length=1, max_length=1)]
    aggregation: Literal["WeightedMean", "Median"] = "WeightedMean"
    """Algorithm of the aggregation, as in `spec.server.aggregation.algorithm`."""
    compression: Literal["None"] = "None"
    """Models are sent whole."""
    replaced: Annotated[tuple[_Text, ...], Meta(max_length=1000)] = ()
    """Settings of the plan without effect, because the product implements their feature differently."""
    initial_model: Literal["", "first-model.safetensors"] = msgspec.field(name="firstModel", default="")
    """The file with the initial model, in the same folder; empty if the workspace has no model."""
    initial_model_absent: _Text = msgspec.field(name="firstModelAbsent", default="")
    """The reason why the workspace has no model."""
    framework: _Name = "openfl"
    version: Literal[1] = 1
    """Version of this format."""


def encode(plan: ExportedPlan) -> bytes:
    """Encode the plan as a document."""
    return msgspec.json.encode(plan)


def decode(document: bytes) -> ExportedPlan:
    """Decode the plan from an untrusted document.

    Raises:
        PlanNotUnderstood: The document is invalid or inconsistent.
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
