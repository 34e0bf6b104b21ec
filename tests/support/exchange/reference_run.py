"""Reference run of a workspace in one process, without OpenFL's network and without the aggregator.

It computes the expected result of a run: the user's task runner trains at each site from the global model, and the next
global model is the mean of the sites' models, weighted by their training samples. The arithmetic is the one promised
for `WeightedMean`: each float32 value is taken as float64, multiplied by its site's samples, summed in the order of the
sites' names, divided by the samples of all, and rounded to float32 once. It shares no code with the engine, so the two
agree only if both are correct.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

import runtimes.openfl  # noqa: F401 - must precede OpenFL (`pip_stub`)

Floats = npt.NDArray[np.float32]
Model = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """Result of a run.

    Args:
        first: the initial model.
        models: the global model after each round.
        metrics: of each round, task and site, its metrics.
    """

    first: Model
    models: list[Model]
    metrics: list[dict[str, dict[str, dict[str, float]]]]

    @property
    def final(self) -> Model:
        """The final model."""
        return self.models[-1]


def run(workspace: Path, shards: Mapping[str, Path], rounds: int | None = None) -> ReferenceRun:
    """Run the workspace's plan with the sites' shards.

    Args:
        workspace: the folder with `plan/plan.yaml` and `src`.
        shards: the data folder of each site, by its name.
        rounds: number of rounds; None for the number in the plan.
    """
    plan = yaml.safe_load((workspace / "plan" / "plan.yaml").read_text(encoding="utf-8"))
    tasks = {name: plan["tasks"][name] for name in plan["assigner"]["settings"]["task_groups"][0]["tasks"]}
    with importable(workspace):
        runners = {site: _runner(plan, str(shards[site])) for site in sorted(shards)}
    first: Model = {
        name: np.array(value) for name, value in next(iter(runners.values())).get_tensor_dict(False).items()
    }
    done = ReferenceRun(first, [], [])
    model = first
    for number in range(plan["aggregator"]["settings"]["rounds_to_train"] if rounds is None else rounds):
        done.metrics.append({name: {} for name in tasks})
        trained: dict[str, tuple[int, Model]] = {}
        for site, runner in runners.items():
            for name, task in tasks.items():
                local = task["kwargs"].get("apply") == "local"
                start = trained[site][1] if local else model
                put_out, _ = getattr(runner, task["function"])(
                    col_name=site, round_num=number, input_tensor_dict=dict(start), **task["kwargs"]
                )
                done.metrics[-1][name][site] = {key.tensor_name: float(put_out[key]) for key in put_out if key.report}
                tensors = {key.tensor_name: np.array(put_out[key]) for key in put_out if not key.report}
                if tensors:
                    trained[site] = runner.get_train_data_size(), tensors
        model = weighted_mean([trained[site] for site in sorted(trained)])
        done.models.append(model)
    return done


def weighted_mean(updates: list[tuple[int, Model]]) -> Model:
    """Compute the weighted mean of models, summed in the given order."""
    total = np.float64(sum(weight for weight, _ in updates))
    mean: Model = {}
    for name in updates[0][1]:
        summed = np.zeros(updates[0][1][name].shape, np.float64)
        for weight, model in updates:
            summed += np.float64(weight) * model[name].astype(np.float64)
        mean[name] = (summed / total).astype(np.float32)
    return mean


@contextmanager
def importable(workspace: Path) -> Iterator[None]:
    """Make the workspace's `src` importable while the context is open."""
    forget_workspace()
    sys.path.insert(0, str(workspace))
    try:
        yield
    finally:
        sys.path.remove(str(workspace))
        forget_workspace()


def forget_workspace() -> None:
    """Remove a workspace's modules, because every workspace names its package `src`."""
    for name in [name for name in sys.modules if name == "src" or name.startswith("src.")]:
        del sys.modules[name]


def _runner(plan: Mapping[str, Any], data: str) -> Any:
    loader = _built(plan["data_loader"], data_path=data)
    runner = _built(plan["task_runner"], data_loader=loader)
    runner.initialize_tensorkeys_for_functions()
    return runner


def _built(section: Mapping[str, Any], **more: Any) -> Any:
    module, _, name = section["template"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**section["settings"], **more)


def _main(workspace: Path, out: Path, *shards: str) -> None:
    """Write the model after each round, for tests in an environment without OpenFL."""
    places = dict(shard.split("=", 1) for shard in shards)
    out.mkdir(parents=True, exist_ok=True)
    done = run(workspace, {name: Path(folder) for name, folder in places.items()})
    for number, model in enumerate(done.models, start=1):
        np.savez(out / f"round-{number:03}.npz", allow_pickle=False, **model)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
