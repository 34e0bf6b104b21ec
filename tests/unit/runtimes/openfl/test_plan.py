"""The hub's reading of an OpenFL plan, without OpenFL."""

from typing import Any

import pytest

from federation.exported_plan import ExportedPlan, PlannedTask, TaskGroup, TaskKind, decode, encode
from runtimes.openfl.plan_export import export_plan, with_defaults
from runtimes.openfl.plan_settings import PlanRefusal, PlanRefusalReason
from tests.support.builders.plans import plan

LEARNING = {"name": "learning", "percentage": 1.0, "tasks": ["train"]}
EVALUATION = {"name": "evaluation", "percentage": 0, "tasks": ["validation"]}
FUNCTIONS = "openfl.interface.aggregation_functions"


def accepted(changes: dict[str, Any] | None = None) -> ExportedPlan:
    judged = export_plan(plan(changes))
    assert isinstance(judged, ExportedPlan), judged
    return judged


def refused(changes: dict[str, Any]) -> dict[str, PlanRefusal]:
    judged = export_plan(plan(changes))
    assert not isinstance(judged, ExportedPlan)
    return {refusal.setting: refusal for refusal in judged}


def test_a_plan_becomes_rounds_tasks_and_groups() -> None:
    told = accepted()

    assert told.rounds == 5
    assert told.tasks == (
        PlannedTask("validation", TaskKind.VALIDATE_AGGREGATED),
        PlannedTask("train", TaskKind.TRAIN),
    )
    assert told.groups == (TaskGroup("learning", 1, ("validation", "train")),)
    assert told.aggregation == "WeightedMean"
    assert decode(encode(told)) == told


def test_what_has_no_effect_is_named() -> None:
    told = accepted({"aggregator.settings.persist_checkpoint": True, "collaborator.settings.use_delta_updates": True})

    assert set(told.replaced) == {
        "aggregator.settings.persist_checkpoint",
        "collaborator.settings.use_delta_updates",
        "network.settings.use_tls",
    }


def test_the_tasks_are_those_of_the_group_that_does_anything() -> None:
    told = accepted({"assigner.settings.task_groups": [LEARNING, EVALUATION]})

    assert [task.name for task in told.tasks] == ["train"]


def test_a_selected_group_is_the_one_that_runs() -> None:
    groups = [{**LEARNING, "percentage": 0.5}, {**EVALUATION, "percentage": 0.5}]
    told = accepted({"assigner.settings.task_groups": groups, "assigner.settings.selected_task_group": "learning"})

    assert told.groups == (TaskGroup("learning", 1, ("train",)),)


@pytest.mark.parametrize(
    ("function", "expected"),
    [("WeightedAverage", "WeightedMean"), ("Median", "Median")],
)
def test_the_aggregation_of_training_is_in_the_words_of_the_resource(function: str, expected: str) -> None:
    assert accepted({"tasks.train.aggregation_type": {"template": f"{FUNCTIONS}.{function}"}}).aggregation == expected


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("aggregator.settings.secure_aggregation", True, "remove it"),
        ("aggregator.settings.single_col_cert_common_name", "all", "own certificate"),
        ("aggregator.settings.save_native_model", True, "safetensors"),
        ("aggregator.template", "src.aggregator.Mine", "openfl.component.Aggregator"),
        ("collaborator.settings.opt_treatment", "CONTINUE_GLOBAL", "CONTINUE_LOCAL"),
        ("collaborator.settings.interop_mode", True, "remove it, and train in your own task runner"),
        ("collaborator.template", "openfl.experimental.Other", "openfl.component.Collaborator"),
        ("assigner.template", "openfl.component.StaticGroupedAssigner", "placement"),
        ("compression_pipeline.template", "openfl.pipelines.STCPipeline", "NoCompressionPipeline"),
        ("straggler_handling_policy.template", "openfl.component.CutoffTimePolicy", "roundTimeoutSeconds"),
        ("connector", {"template": "openfl.component.ConnectorFlower"}, "remove it, and train in your own task runner"),
        ("tasks.settings.interop_server", "openfl.transport.grpc.interop.FlowerInteropServer", "remove it, and train"),
        ("tasks.train.aggregation_type", {"template": "src.aggregation.Mine"}, "spec.server.aggregation"),
        ("tasks.train.aggregation_type", {"template": f"{FUNCTIONS}.GeometricMedian"}, "Median"),
        ("tasks.train.aggregation_type", {"template": "src.openfl.Median"}, "no code of the workspace"),
    ],
)
def test_what_the_engine_has_not_is_refused_by_name_with_a_remedy(setting: str, value: object, remedy: str) -> None:
    told = refused({setting: value})

    assert list(told) == [setting]
    assert told[setting].reason is PlanRefusalReason.UNSUPPORTED
    assert remedy in told[setting].remedy


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"aggregator.settings.rounds_to_train": 0}, "aggregator.settings.rounds_to_train"),
        ({"aggregator.settings.rounds_to_train": True}, "aggregator.settings.rounds_to_train"),
        ({"aggregator.settings.rounds_to_train": "5"}, "aggregator.settings.rounds_to_train"),
        ({"aggregator.settings.rounds": 5}, "aggregator.settings.rounds"),
        ({"aggregators": {"settings": {}}}, "aggregators"),
        ({"data_loader": None}, "data_loader"),
        ({"data_loader.template": "Loader"}, "data_loader.template"),
        ({"task_runner.template": None}, "task_runner.template"),
        ({"tasks.train": None}, "tasks.train"),
        ({"tasks.train.function": None}, "tasks.train"),
        ({"tasks.train.kwargs": None}, "tasks.train.kwargs"),
        ({"tasks.validation.kwargs": {}}, "tasks.validation.kwargs.apply"),
        ({"assigner.settings.task_groups": None}, "assigner.settings.task_groups"),
        ({"assigner.settings.task_groups": [{**LEARNING, "tasks": []}]}, "assigner.settings.task_groups.tasks"),
        (
            {"assigner.settings.task_groups": [{**LEARNING, "tasks": ["train", "train"]}]},
            "assigner.settings.task_groups.tasks",
        ),
    ],
)
def test_what_is_no_plan_is_refused_where_it_is_wrong(changes: dict[str, Any], setting: str) -> None:
    told = refused(changes)

    assert told[setting].reason is PlanRefusalReason.MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"aggregator.settings.rounds_to_train": 10**9},
        {"assigner.settings.task_groups": [{**LEARNING, "name": "x" * 1000}]},
        {"assigner.settings.task_groups": [{**LEARNING, "name": "\ud800"}]},
    ],
    ids=["rounds", "long-name", "half-a-character"],
)
def test_what_the_hub_would_not_read_is_refused_in_the_image_already(changes: dict[str, Any]) -> None:
    assert refused(changes)["plan"].reason is PlanRefusalReason.MALFORMED


def test_a_task_whose_results_would_have_no_weight_is_refused() -> None:
    told = refused(
        {
            "tasks.fit": {"function": "train_task", "kwargs": {}},
            "assigner.settings.task_groups": [{**LEARNING, "tasks": ["train", "fit"]}],
        }
    )

    assert "`train` or `valid`" in told["tasks.fit"].remedy


@pytest.mark.parametrize("tasks", [["validation"], ["train", "train_more"]], ids=["none", "two"])
def test_a_round_has_one_task_that_trains(tasks: list[str]) -> None:
    told = refused(
        {
            "tasks.train_more": {"function": "train_task", "kwargs": {}},
            "assigner.settings.task_groups": [{**LEARNING, "tasks": tasks}],
        }
    )

    assert "exactly one" in told["assigner.settings.task_groups.tasks"].remedy


def test_sites_are_not_dealt_to_groups_by_chance() -> None:
    told = refused(
        {"assigner.settings.task_groups": [{**LEARNING, "percentage": 0.5}, {**EVALUATION, "percentage": 0.5}]}
    )

    assert "1.0" in told["assigner.settings.task_groups"].remedy


def test_everything_that_is_wrong_is_said_at_once() -> None:
    told = refused({"aggregator.settings.secure_aggregation": True, "aggregator.settings.rounds_to_train": 0})

    assert set(told) == {"aggregator.settings.secure_aggregation", "aggregator.settings.rounds_to_train"}


def test_a_sections_own_settings_come_before_openfls_defaults() -> None:
    defaults = {
        "plan/defaults/aggregator.yaml": {"template": "openfl.component.Aggregator", "settings": {"a": 1, "b": 1}}
    }
    written = {"aggregator": {"defaults": "plan/defaults/aggregator.yaml", "settings": {"b": 2}}}

    assert with_defaults(written, defaults.get) == {
        "aggregator": {"template": "openfl.component.Aggregator", "settings": {"a": 1, "b": 2}}
    }


@pytest.mark.parametrize(
    ("written", "setting"),
    [
        ("aggregator", "plan"),
        (None, "plan"),
        ({"aggregator": 5}, "aggregator"),
        ({"aggregator": {"settings": [1]}}, "aggregator.settings"),
        ({"aggregator": {"defaults": "plan/defaults/nothing.yaml"}}, "aggregator.defaults"),
    ],
)
def test_what_is_no_plan_at_all_is_refused(written: object, setting: str) -> None:
    refusal = with_defaults(written, dict[str, Any]().get)

    assert isinstance(refusal, PlanRefusal)
    assert refusal.setting == setting
