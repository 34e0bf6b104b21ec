"""Load the user's workspace: its plan, and the data loader and task runner that the plan names.

OpenFL's own `Plan` is not used: it also resolves host names, chooses ports and logs the whole plan.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import yaml
from openfl.component.collaborator.collaborator import Collaborator
from openfl.protocols import utils as openfl_protocols
from openfl.utilities.split import split_tensor_dict_for_holdouts

from federation.exported_plan import ExportedPlan
from federation.model import DType, ModelManifest, TensorSpec, manifest_of
from runtimes.openfl import workarounds
from runtimes.openfl.plan_export import export_plan, with_defaults
from runtimes.openfl.plan_settings import PlanRefusal, PlanRefusalReason, settings_of
from runtimes.openfl.round_client import RoundClient


class PlanRefused(Exception):
    """The plan is invalid or unsupported; the message names every setting and its remedy."""

    def __init__(self, refusals: tuple[PlanRefusal, ...]) -> None:
        super().__init__("; ".join(map(str, refusals)))
        self.refusals = refusals


@dataclass(frozen=True, slots=True)
class Model:
    """Model of this workspace.

    Args:
        manifest: The tensors that are sent.
        laid_out: Their bytes, in the manifest's layout.
        held_out: Tensors that stay at the site: those that aren't numbers, and those that the task runner holds out.
    """

    manifest: ModelManifest
    laid_out: bytearray
    held_out: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Workspace:
    """Workspace with a valid plan and imported classes."""

    plan: Mapping[str, Any]
    for_hub: ExportedPlan
    folder: Path
    data_loader: type[Any]
    task_runner: type[Any]

    def task_runner_over(self, data: Path | None) -> Any:
        """Create the task runner with the data at a path, or without data if None, as in OpenFL 1.9."""
        loader_settings = {**settings_of(self.plan, "data_loader"), "data_path": None if data is None else str(data)}
        loader = self.data_loader(**loader_settings)
        runner = self.task_runner(**{**settings_of(self.plan, "task_runner"), "data_loader": loader})
        runner.initialize_tensorkeys_for_functions()
        return runner

    def shipped_model(self) -> Model | None:
        """Return the initial model that `fx plan initialize` wrote to the workspace, None if it is missing."""
        path = settings_of(self.plan, "aggregator").get("init_state_path")
        if path is None or not (self.folder / path).is_file():
            return None
        pipeline = workarounds.Float32Pipeline()
        tensors, _ = openfl_protocols.deconstruct_model_proto(
            openfl_protocols.load_proto(str(self.folder / path)), pipeline
        )
        return _model(tensors, {})


def open_workspace(folder: Path, plan_file: Path) -> Workspace:
    """Read the plan and import the user's classes from the workspace's folder, as OpenFL does.

    Raises:
        PlanRefused: The plan is invalid or unsupported.
        Exception: The import of the user's code can raise any exception.
    """
    workarounds.apply()
    merged = with_defaults(_yaml(plan_file), default_section)
    if isinstance(merged, PlanRefusal):
        raise PlanRefused((merged,))
    exported = export_plan(merged)
    if not isinstance(exported, ExportedPlan):
        raise PlanRefused(exported)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return Workspace(
        plan=merged,
        for_hub=exported,
        folder=folder,
        data_loader=_class(merged, "data_loader"),
        task_runner=_class(merged, "task_runner"),
    )


def model_of(task_runner: Any) -> Model:
    """Return the task runner's current model, without its optimizer's state."""
    return _model(task_runner.get_tensor_dict(False), getattr(task_runner, "tensor_dict_split_fn_kwargs", None) or {})


def collaborator_of(
    workspace: Workspace, task_runner: Any, client: RoundClient, held_out: Mapping[str, Any], *, run: str, cluster: str
) -> Any:
    """Create OpenFL's own `Collaborator`, ready to run."""
    collaborator = Collaborator(
        collaborator_name=workarounds.collaborator_name(cluster),
        aggregator_uuid=workarounds.aggregator_name(run),
        federation_uuid=run,
        client=client,
        task_runner=task_runner,
        task_config=workspace.plan["tasks"],
        **workarounds.collaborator_settings(settings_of(workspace.plan, "collaborator")),
    )
    workarounds.keep_held_out_tensors(collaborator, held_out)
    return collaborator


def _model(tensors: Mapping[str, Any], split: Mapping[str, Any]) -> Model:
    sent, held_out = split_tensor_dict_for_holdouts(dict(tensors), **split)
    manifest = manifest_of_shapes({name: tuple(tensor.shape) for name, tensor in sent.items()})
    laid_out = bytearray()
    for tensor in manifest.tensors:
        laid_out += workarounds.Float32().forward(sent[tensor.name])[0]
    return Model(manifest, laid_out, held_out)


def _yaml(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanRefused(
            (PlanRefusal(PlanRefusalReason.MALFORMED, str(path), f"not readable as a plan: {error}"),)
        ) from error


def default_section(name: str) -> Mapping[str, Any] | None:
    """Return OpenFL's default of a section from the templates in its wheel, None if it is missing."""
    spec = find_spec("openfl")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.parent / "openfl-workspace" / "workspace" / name
    return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), dict) if path.is_file() else None


def _class(plan: Mapping[str, Any], section: str) -> type[Any]:
    module, _, name = str(plan[section]["template"]).rpartition(".")
    found: type[Any] = getattr(import_module(module), name)
    return found


def manifest_of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> ModelManifest:
    """Return the manifest of a model with these tensors.

    All are float32, to which OpenFL's codec casts every tensor (`openfl.pipelines.pipeline`, 1.9).
    """
    return manifest_of(TensorSpec(name, DType.FLOAT32, shape) for name, shape in shapes.items())
