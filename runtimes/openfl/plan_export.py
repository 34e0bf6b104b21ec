"""Convert an OpenFL plan into the data that the hub needs to run rounds.

The functions are pure. A plan is a mapping as parsed from YAML; `with_defaults` adds OpenFL's defaults. Every setting
is used, replaced by the product and then listed in `ExportedPlan.replaced`, or rejected by name with a remedy.
A setting means what it means in OpenFL 1.9 (`openfl.federated.plan`).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from federation.exported_plan import ExportedPlan, PlannedTask, PlanNotUnderstood, TaskGroup, TaskKind, decode, encode
from runtimes.openfl.plan_settings import (
    NO_BRIDGE,
    PlanRefusal,
    PlanRefusalReason,
    Section,
    refusals_of,
    replaced_in,
    settings_of,
)

Aggregation = Literal["WeightedMean", "Median"]

WEIGHTED_MEAN: Final = "WeightedMean"
_AGGREGATIONS: Final[dict[str, Aggregation]] = {"WeightedAverage": WEIGHTED_MEAN, "Median": "Median"}
"""The supported functions by OpenFL's name. OpenFL can't build its Adam, Yogi and Adagrad from a plan, because they
require the parameters as an argument; its Yogi is also broken."""


def with_defaults(plan: object, default_of: Callable[[str], Section | None]) -> dict[str, Any] | PlanRefusal:
    """Merge the defaults that the sections name, as OpenFL does: a section's own settings override the defaults.

    Args:
        plan: The user's plan; not changed.
        default_of: Returns OpenFL's default by its name in the plan, for example `plan/defaults/network.yaml`.
    """
    if not isinstance(plan, Mapping):
        return PlanRefusal(PlanRefusalReason.MALFORMED, "plan", "write an OpenFL plan: a mapping of sections")
    merged = dict[str, Any]()
    for name, section in plan.items():
        if not isinstance(section, Mapping):
            return PlanRefusal(PlanRefusalReason.MALFORMED, str(name), "write a mapping with template and settings")
        own = {key: value for key, value in section.items() if key != "defaults"}
        named = section.get("defaults")
        default = {} if named is None else default_of(str(named))
        if default is None:
            return PlanRefusal(PlanRefusalReason.MALFORMED, f"{name}.defaults", f"OpenFL 1.9 has no {named}")
        settings = own.get("settings") or {}
        if not isinstance(settings, Mapping):
            return PlanRefusal(PlanRefusalReason.MALFORMED, f"{name}.settings", "write a mapping")
        merged[str(name)] = {**default, **own, "settings": {**(default.get("settings") or {}), **settings}}
    return merged


def export_plan(plan: Section) -> ExportedPlan | tuple[PlanRefusal, ...]:
    """Return the data that the hub needs from a merged plan, or all reasons why the plan can't be run."""
    group = _group(settings_of(plan, "assigner"))
    tasks = plan.get("tasks", {})
    names = () if isinstance(group, PlanRefusal) else group.tasks
    refusals = [*refusals_of(plan), *_of_rounds(plan), *_of_tasks(tasks, names)]
    if isinstance(group, PlanRefusal):
        return (*refusals, group)
    if refusals:
        return tuple(refusals)
    trained = next(name for name in names if _trains(name))
    exported = ExportedPlan(
        rounds=settings_of(plan, "aggregator")["rounds_to_train"],
        tasks=tuple(PlannedTask(name, kind) for name in names if (kind := _kind(name, tasks[name])) is not None),
        groups=(group,),
        aggregation=_aggregation(tasks[trained]) or WEIGHTED_MEAN,
        replaced=replaced_in(plan),
    )
    return _within_hub_limits(exported)


def _within_hub_limits(plan: ExportedPlan) -> ExportedPlan | tuple[PlanRefusal, ...]:
    """Apply the hub's limits on names and on the numbers of tasks and rounds."""
    try:
        return decode(encode(plan))
    except (PlanNotUnderstood, UnicodeEncodeError) as error:
        return (PlanRefusal(PlanRefusalReason.MALFORMED, "plan", f"not readable by the hub: {error}"),)


def _trains(task: str) -> bool:
    """Return whether the task trains; OpenFL also decides by the name which number of samples weighs the result."""
    return "train" in task and "valid" not in task


def _kind(name: str, task: Section) -> TaskKind | None:
    """Return the task's kind, None if the plan does not set which model a task validates."""
    if _trains(name):
        return TaskKind.TRAIN
    kinds = {"global": TaskKind.VALIDATE_AGGREGATED, "local": TaskKind.VALIDATE_LOCAL}
    return kinds.get(str(task["kwargs"].get("apply")))


def _aggregation(task: Section) -> Aggregation | None:
    """Return the product's name of the task's aggregation, None if it is unsupported."""
    named = task.get("aggregation_type")
    template = named.get("template") if isinstance(named, Mapping) else named
    if template is None:
        return WEIGHTED_MEAN
    package, _, function = str(template).rpartition(".")
    return _AGGREGATIONS.get(function) if package.partition(".")[0] == "openfl" else None


def _of_rounds(plan: Section) -> Iterator[PlanRefusal]:
    rounds = settings_of(plan, "aggregator").get("rounds_to_train")
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1:
        yield PlanRefusal(
            PlanRefusalReason.MALFORMED, "aggregator.settings.rounds_to_train", "write a number of rounds from 1 up"
        )


def _group(settings: Section) -> TaskGroup | PlanRefusal:
    """Return the only active group."""
    path = "assigner.settings.task_groups"
    groups = settings.get("task_groups")
    selected = settings.get("selected_task_group")
    if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
        return PlanRefusal(
            PlanRefusalReason.MALFORMED, path, "write a list of groups, each with name, percentage and tasks"
        )
    if selected is not None:
        groups = [{**group, "percentage": 1.0} for group in groups if group.get("name") == selected]
    active = [group for group in groups if group.get("percentage")]
    if len(active) != 1 or active[0]["percentage"] != 1:
        return PlanRefusal(
            PlanRefusalReason.UNSUPPORTED,
            path,
            "set the percentage of one group to 1.0 and of every other group to 0: all sites do the same tasks, and "
            "OpenFL's random assignment is not reproducible",
        )
    tasks = active[0].get("tasks")
    if not isinstance(tasks, list) or not tasks or len(set(map(str, tasks))) != len(tasks):
        return PlanRefusal(PlanRefusalReason.MALFORMED, f"{path}.tasks", "list the group's tasks, each once")
    return TaskGroup(name=str(active[0].get("name", "")), share=1, tasks=tuple(map(str, tasks)))


def _of_tasks(tasks: Section, names: tuple[str, ...]) -> Iterator[PlanRefusal]:
    for name in names:
        task = tasks.get(name)
        if not isinstance(task, Mapping) or not isinstance(task.get("function"), str):
            yield PlanRefusal(PlanRefusalReason.MALFORMED, f"tasks.{name}", "define the task, with its function")
            continue
        if not isinstance(task.get("kwargs"), Mapping):
            yield PlanRefusal(PlanRefusalReason.MALFORMED, f"tasks.{name}.kwargs", "write a mapping; {} for none")
        elif _kind(name, task) is None:
            yield PlanRefusal(
                PlanRefusalReason.MALFORMED,
                f"tasks.{name}.kwargs.apply",
                "write global or local, the model to validate",
            )
        if "train" not in name and "valid" not in name:
            yield PlanRefusal(
                PlanRefusalReason.MALFORMED,
                f"tasks.{name}",
                "include `train` or `valid` in the name: OpenFL chooses the number of samples by it",
            )
        if _aggregation(task) is None:
            yield PlanRefusal(
                PlanRefusalReason.UNSUPPORTED,
                f"tasks.{name}.aggregation_type",
                "use openfl.interface.aggregation_functions.WeightedAverage or Median, or choose by "
                "spec.server.aggregation: the aggregator runs no code of the workspace",
            )
    training = [name for name in names if _trains(name)]
    if names and len(training) != 1:
        yield PlanRefusal(
            PlanRefusalReason.UNSUPPORTED,
            "assigner.settings.task_groups.tasks",
            f"list exactly one task that trains, with `train` in its name; the group has {len(training)}",
        )
    if (tasks.get("settings") or {}).get("interop_server"):
        yield PlanRefusal(PlanRefusalReason.UNSUPPORTED, "tasks.settings.interop_server", NO_BRIDGE)
