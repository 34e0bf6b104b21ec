"""An OpenFL plan as data: what the hub needs of it to run rounds, and what a collaborator is built from.

Pure: a plan is a mapping as YAML gives it, with OpenFL's defaults merged in by `with_defaults`. Every setting is used,
replaced by the product (and then named in `ExportedPlan.replaced`, so that nobody believes it counts), or refused by
name with a remedy; none is passed over. What each means is what OpenFL 1.9 makes of it (`openfl.federated.plan`).
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
"""OpenFL's aggregation functions that mean the same as ours. Its Adam, Yogi and Adagrad can't be built from a plan at
all (they want the parameters as an argument), and its Yogi is broken besides."""


def with_defaults(plan: object, default_of: Callable[[str], Section | None]) -> dict[str, Any] | PlanRefusal:
    """The plan with the defaults that its sections name, as OpenFL merges them: a section's own settings come first.

    Args:
        plan: as written by the user; not changed.
        default_of: finds OpenFL's own default by the name in the plan, for example `plan/defaults/network.yaml`.
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
    """What the hub needs of a merged plan, or all that keeps it from being run."""
    group = _group(settings_of(plan, "assigner"))
    tasks = plan.get("tasks", {})
    names = () if isinstance(group, PlanRefusal) else group.tasks
    refusals = [*refusals_of(plan), *_of_rounds(plan), *_of_tasks(tasks, names)]
    if isinstance(group, PlanRefusal):
        return (*refusals, group)
    if refusals:
        return tuple(refusals)
    trained = next(name for name in names if _trains(name))
    made = ExportedPlan(
        rounds=settings_of(plan, "aggregator")["rounds_to_train"],
        tasks=tuple(PlannedTask(name, kind) for name in names if (kind := _kind(name, tasks[name])) is not None),
        groups=(group,),
        aggregation=_aggregation(tasks[trained]) or WEIGHTED_MEAN,
        replaced=replaced_in(plan),
    )
    return _as_the_hub_reads_it(made)


def _as_the_hub_reads_it(plan: ExportedPlan) -> ExportedPlan | tuple[PlanRefusal, ...]:
    """The plan, held to the same bounds as at the hub: of names, of the number of tasks and of rounds."""
    try:
        return decode(encode(plan))
    except (PlanNotUnderstood, UnicodeEncodeError) as error:
        return (PlanRefusal(PlanRefusalReason.MALFORMED, "plan", f"not readable by the hub: {error}"),)


def _trains(task: str) -> bool:
    """OpenFL weighs a result by its task's name: with `train` by the training samples, with `valid` by the others."""
    return "train" in task and "valid" not in task


def _kind(name: str, task: Section) -> TaskKind | None:
    """None where the plan doesn't say which model a validation is of."""
    if _trains(name):
        return TaskKind.TRAIN
    kinds = {"global": TaskKind.VALIDATE_AGGREGATED, "local": TaskKind.VALIDATE_LOCAL}
    return kinds.get(str(task["kwargs"].get("apply")))


def _aggregation(task: Section) -> Aggregation | None:
    """Our name of the task's aggregation, None where we have none."""
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
    """The one group that does anything."""
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
            "give one group the percentage 1.0 and every other 0: which sites do what must not be left to chance "
            "(OpenFL draws it unseeded), and here all of them do the same",
        )
    tasks = active[0].get("tasks")
    if not isinstance(tasks, list) or not tasks or len(set(map(str, tasks))) != len(tasks):
        return PlanRefusal(PlanRefusalReason.MALFORMED, f"{path}.tasks", "list the group's tasks, each once")
    return TaskGroup(name=str(active[0].get("name", "")), share=1, tasks=tuple(map(str, tasks)))


def _of_tasks(tasks: Section, names: tuple[str, ...]) -> Iterator[PlanRefusal]:
    for name in names:
        task = tasks.get(name)
        if not isinstance(task, Mapping) or not isinstance(task.get("function"), str):
            yield PlanRefusal(
                PlanRefusalReason.MALFORMED, f"tasks.{name}", "define the task, with the function that does it"
            )
            continue
        if not isinstance(task.get("kwargs"), Mapping):
            yield PlanRefusal(PlanRefusalReason.MALFORMED, f"tasks.{name}.kwargs", "write a mapping; {} for none")
        elif _kind(name, task) is None:
            yield PlanRefusal(
                PlanRefusalReason.MALFORMED,
                f"tasks.{name}.kwargs.apply",
                "write global or local: the model that is validated",
            )
        if "train" not in name and "valid" not in name:
            yield PlanRefusal(
                PlanRefusalReason.MALFORMED,
                f"tasks.{name}",
                "have `train` or `valid` in the name: by it OpenFL takes the number of samples that weighs the result",
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
            f"have exactly one task that trains, named with `train`; there are {len(training)}",
        )
    if (tasks.get("settings") or {}).get("interop_server"):
        yield PlanRefusal(PlanRefusalReason.UNSUPPORTED, "tasks.settings.interop_server", NO_BRIDGE)
