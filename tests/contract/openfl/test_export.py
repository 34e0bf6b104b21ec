"""The export of workspaces by the hub's init container, including the workspaces that OpenFL ships."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from federation.exported_plan import MODEL_FILE, PLAN_FILE, ExportedPlan, TaskKind, decode
from runtimes.kit.failure import RuntimeFailureReason
from runtimes.openfl import workarounds
from runtimes.openfl.plan_export import export_plan, with_defaults
from runtimes.openfl.plan_settings import PlanRefusal
from runtimes.openfl.process import export
from runtimes.openfl.workspace import default_section
from tests.support.builders.workspaces import DIGITS, config, copy_of_digits
from tests.support.exchange import reference_run

pytestmark = pytest.mark.openfl

VALIDATE_AGGREGATED, TRAIN, VALIDATE_LOCAL = TaskKind.VALIDATE_AGGREGATED, TaskKind.TRAIN, TaskKind.VALIDATE_LOCAL


def exported(workspace: Path, folder: Path) -> ExportedPlan:
    assert export(config(workspace, folder).workspace, folder) is None
    return decode((folder / PLAN_FILE).read_bytes())


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file by its specification alone."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header: dict[str, dict[str, Any]] = json.loads(data[8 : 8 + size])
    return {
        name: np.frombuffer(data[8 + size :][slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        for name, entry in header.items()
        if entry["dtype"] == "F32"
    }


def test_the_digits_give_their_plan_as_data(tmp_path: Path) -> None:
    plan = exported(DIGITS, tmp_path)

    assert (plan.version, plan.framework, plan.rounds) == (1, "openfl", 20)
    assert [(task.name, task.kind) for task in plan.tasks] == [
        ("aggregated_model_validation", VALIDATE_AGGREGATED),
        ("train", TRAIN),
        ("locally_tuned_model_validation", VALIDATE_LOCAL),
    ]
    assert (plan.aggregation, plan.compression) == ("WeightedMean", "None")
    assert "network.settings.use_tls" in plan.replaced
    assert not list(tmp_path.glob("*.partial"))


def test_exported_initial_model_equals_that_of_every_site(tmp_path: Path, shards: Path) -> None:
    plan = exported(DIGITS, tmp_path)

    given = tensors_of(tmp_path / plan.initial_model)
    expected = reference_run.run(DIGITS, {"c1": shards / "c1"}, rounds=0).first
    assert {name: value.tolist() for name, value in given.items()} == {
        name: value.tolist() for name, value in expected.items()
    }


def test_a_model_that_the_workspace_ships_comes_before_one_that_it_builds(tmp_path: Path) -> None:
    from openfl.protocols import utils  # noqa: PLC0415 - the suite's only use of OpenFL's own file format

    workspace = copy_of_digits(
        tmp_path, plan=lambda plan: plan["aggregator"]["settings"].update(init_state_path="save/init.pbuf")
    )
    (workspace / "save").mkdir()
    shipped = {"w": np.arange(4, dtype=np.float32).reshape(2, 2), "b": np.ones(1, np.float32)}
    proto = utils.construct_model_proto(shipped, 0, workarounds.Float32Pipeline())
    utils.dump_proto(proto, str(workspace / "save" / "init.pbuf"))

    plan = exported(workspace, tmp_path)

    given = tensors_of(tmp_path / plan.initial_model)
    assert {name: value.tolist() for name, value in given.items()} == {"w": [[0, 1], [2, 3]], "b": [1]}


def test_a_workspace_that_needs_data_for_its_model_reports_it_and_exports_its_plan(tmp_path: Path) -> None:
    workspace = copy_of_digits(tmp_path, replace={"src/dataloader.py": ("if data_path is None:", "if False:")})

    plan = exported(workspace, tmp_path)

    assert plan.initial_model == ""
    assert "TypeError, src/dataloader.py:" in plan.initial_model_absent
    assert not (tmp_path / MODEL_FILE).exists()


def test_an_import_error_is_found_before_anything_starts(tmp_path: Path) -> None:
    workspace = copy_of_digits(
        tmp_path, replace={"src/taskrunner.py": ("import numpy as np\n", "import nunpy as np\n")}
    )

    told = export(config(workspace, tmp_path).workspace, tmp_path)

    assert told is not None
    assert (told.reason, told.file, told.exception) == (
        RuntimeFailureReason.WORKSPACE_FAILED,
        "src/taskrunner.py",
        "ModuleNotFoundError",
    )
    assert not (tmp_path / PLAN_FILE).exists()


def test_an_unsupported_setting_is_refused_by_name_in_the_termination_message(tmp_path: Path) -> None:
    def secure(plan: dict[str, Any]) -> None:
        plan["aggregator"]["settings"]["secure_aggregation"] = True
        plan["compression_pipeline"] = {"template": "openfl.pipelines.KCPipeline", "settings": {"n_clusters": 6}}

    told = export(config(copy_of_digits(tmp_path, plan=secure), tmp_path).workspace, tmp_path)

    assert told is not None
    assert told.reason is RuntimeFailureReason.PLAN_REFUSED
    message = json.loads((tmp_path / "termination-log").read_bytes())["message"]
    assert "aggregator.settings.secure_aggregation" in message
    assert "openfl.pipelines.KCPipeline" in message


def test_a_plan_that_is_not_there_is_refused_by_its_path(tmp_path: Path) -> None:
    told = export(config(tmp_path, tmp_path).workspace, tmp_path)

    assert told is not None
    assert told.reason is RuntimeFailureReason.PLAN_REFUSED
    assert "plan/plan.yaml" in told.message


def shipped_plan(name: str) -> ExportedPlan | set[str]:
    """The rejected settings, if any, in the plan of a workspace that OpenFL ships."""
    spec = find_spec("openfl")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parents[1] / "openfl-workspace" / name / "plan" / "plan.yaml"
    merged = with_defaults(yaml.safe_load(path.read_text(encoding="utf-8")), default_section)
    assert not isinstance(merged, PlanRefusal)
    judged = export_plan(merged)
    return judged if isinstance(judged, ExportedPlan) else {refusal.setting for refusal in judged}


@pytest.mark.parametrize(
    "name", ["keras/2dunet", "keras/hippmapp3r", "keras/mnist", "torch/histology", "torch/histology_s3", "torch/mnist"]
)
def test_openfls_own_workspaces_run_unchanged(name: str) -> None:
    plan = shipped_plan(name)

    assert isinstance(plan, ExportedPlan)
    assert [task.kind for task in plan.tasks] == [VALIDATE_AGGREGATED, TRAIN, VALIDATE_LOCAL]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("torch/histology_fedcurv", {"tasks.train.aggregation_type"}),
        ("torch/mnist_eden_compression", {"compression_pipeline.template"}),
        ("torch/mnist_straggler_check", {"straggler_handling_policy.template"}),
        ("xgb_higgs", {"tasks.train.aggregation_type"}),
    ],
)
def test_openfls_workspaces_that_need_its_aggregator_are_refused_by_the_setting(name: str, settings: set[str]) -> None:
    assert shipped_plan(name) == settings
