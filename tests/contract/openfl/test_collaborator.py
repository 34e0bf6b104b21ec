"""The digits example, unchanged, in OpenFL's own Collaborator over an exchange in memory."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.runtime_contract import TerminationMessage
from runtimes.kit.exchange import AggregatorLost, Ended, ExchangeRefused, InitialModelWork, RoundClosed, RoundWork, Work
from runtimes.kit.failure import RuntimeFailureReason
from runtimes.openfl.process import take_part
from tests.support.builders.workspaces import DIGITS, config, copy_of_digits, line_of
from tests.support.exchange import reference_run
from tests.support.fakes.memory_exchange import MemoryExchange

pytestmark = pytest.mark.openfl

TASKS = ("aggregated_model_validation", "train", "locally_tuned_model_validation")


def rounds(*numbers: int) -> list[Work]:
    return [RoundWork(number, TASKS) for number in numbers]


def bytes_of(model: reference_run.Model) -> bytes:
    return b"".join(model[name].tobytes() for name in sorted(model))


def run(workspace: Path, tmp_path: Path, data: Path, exchange: MemoryExchange) -> TerminationMessage | None:
    return take_part(config(workspace, tmp_path, data), lambda _: nullcontext(exchange))


def initial_model(data: Path) -> bytes:
    return bytes_of(reference_run.run(DIGITS, {"c1": data}, rounds=0).first)


def failed(workspace: Path, tmp_path: Path, data: Path, orders: Sequence[Work | Exception]) -> TerminationMessage:
    """The failure of a run over these orders; the termination message must be the same."""
    told = run(workspace, tmp_path, data, MemoryExchange([InitialModelWork(), *orders]))
    assert told is not None
    assert msgspec.json.decode((tmp_path / "termination-log").read_bytes(), type=TerminationMessage) == told
    return told


def test_three_rounds_equal_the_reference_to_the_last_bit(tmp_path: Path, shards: Path) -> None:
    expected = reference_run.run(DIGITS, {"c1": shards / "c1"}, rounds=3)
    exchange = MemoryExchange([InitialModelWork(), *rounds(1, 2, 3)])

    assert run(DIGITS, tmp_path, shards / "c1", exchange) is None

    assert exchange.given == [bytes_of(expected.first)]
    assert [update.data for update in exchange.updates] == [bytes_of(model) for model in expected.models]


def test_a_plan_that_the_hub_has_sent_counts_with_all_of_its_settings(tmp_path: Path, shards: Path) -> None:
    """The image's own plan trains two epochs in batches of 16, and has 32 hidden units."""

    def other(plan: dict[str, Any]) -> None:
        plan["tasks"]["train"]["kwargs"] |= {"epochs": 1, "batch_size": 8}
        plan["task_runner"]["settings"]["hidden_units"] = 8
        plan["data_loader"]["settings"]["validation_share"] = 0.5

    sent = copy_of_digits(tmp_path, plan=other)
    expected = reference_run.run(sent, {"c1": shards / "c1"}, rounds=2)
    own = config(DIGITS, tmp_path, shards / "c1")
    told = replace(own, workspace=replace(own.workspace, plan=sent / "plan" / "plan.yaml"))
    exchange = MemoryExchange([InitialModelWork(), *rounds(1, 2)])

    assert take_part(told, lambda _: nullcontext(exchange)) is None

    assert exchange.given == [bytes_of(expected.first)]
    assert [update.data for update in exchange.updates] == [bytes_of(model) for model in expected.models]


def test_sites_that_restart_each_round_train_the_same_federated_model(tmp_path: Path, shards: Path) -> None:
    sites = {site: shards / site for site in ("c1", "c2")}
    expected = reference_run.run(DIGITS, sites, rounds=3)
    layout = {name: value.shape for name, value in sorted(expected.first.items())}

    def model_from(data: bytes) -> reference_run.Model:
        flat, found = np.frombuffer(data, "<f4"), dict[str, reference_run.Floats]()
        for name, shape in layout.items():
            size = int(np.prod(shape))
            found[name], flat = flat[:size].reshape(shape), flat[size:]
        return found

    model = expected.first
    for number in (1, 2, 3):
        updates = []
        for data in sites.values():
            exchange = MemoryExchange(rounds(number), initial_model=bytes_of(model))
            assert run(DIGITS, tmp_path, data, exchange) is None
            updates.append((exchange.updates[0].samples, model_from(exchange.updates[0].data)))
        model = reference_run.weighted_mean(updates)

    assert bytes_of(model) == bytes_of(expected.final)


def test_each_task_reports_its_metrics_with_its_own_samples(tmp_path: Path, shards: Path) -> None:
    expected = reference_run.run(DIGITS, {"c1": shards / "c1"}, rounds=1).metrics[0]
    exchange = MemoryExchange(rounds(1), initial_model=initial_model(shards / "c1"))

    assert run(DIGITS, tmp_path, shards / "c1", exchange) is None

    assert [(report.round, report.task) for report in exchange.reports] == [(1, task) for task in TASKS]
    assert [dict(report.metrics) for report in exchange.reports] == [
        {name: float(np.float32(value)) for name, value in expected[task]["c1"].items()} for task in TASKS
    ]
    validated, trained, tuned = (report.samples for report in exchange.reports)
    assert validated == tuned == int(0.2 * (validated + trained))
    assert (exchange.updates[0].task, exchange.updates[0].samples) == ("train", trained)


def test_the_update_goes_out_after_the_last_tasks_metrics(tmp_path: Path, shards: Path) -> None:
    exchange = MemoryExchange(rounds(1), initial_model=initial_model(shards / "c1"))

    run(DIGITS, tmp_path, shards / "c1", exchange)

    assert exchange.sent == [*(f"report {task}" for task in TASKS), "upload train"]


def test_a_late_update_is_dropped_and_the_next_round_is_done(tmp_path: Path, shards: Path) -> None:
    exchange = MemoryExchange(
        rounds(1, 2), initial_model=initial_model(shards / "c1"), fail_upload_with=RoundClosed("round 1 has closed")
    )

    assert run(DIGITS, tmp_path, shards / "c1", exchange) is None

    assert exchange.sent.count("upload train") == 2


def test_the_end_of_the_run_ends_the_process_well(tmp_path: Path, shards: Path) -> None:
    exchange = MemoryExchange([Ended("stopped by its owner"), *rounds(1)])

    assert run(DIGITS, tmp_path, shards / "c1", exchange) is None

    assert exchange.updates == []
    assert not (tmp_path / "termination-log").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ExchangeRefused("NOT_IN_COHORT"), RuntimeFailureReason.AGGREGATOR_REFUSED),
        (AggregatorLost("600 s"), RuntimeFailureReason.AGGREGATOR_LOST),
    ],
    ids=["refused", "lost"],
)
def test_aggregator_errors_are_distinguished_from_workspace_errors(
    tmp_path: Path, shards: Path, error: Exception, reason: RuntimeFailureReason
) -> None:
    told = failed(DIGITS, tmp_path, shards / "c1", [error])

    assert (told.reason, told.message) == (reason, str(error))
    assert (told.file, told.line) == ("", 0)


def test_an_import_error_in_the_task_runner_is_reported_with_file_and_line(tmp_path: Path, shards: Path) -> None:
    workspace = copy_of_digits(
        tmp_path, replace={"src/taskrunner.py": ("import numpy as np\n", "import numpy as np\nimport torhc\n")}
    )

    told = failed(workspace, tmp_path, shards / "c1", [])

    assert (told.reason, told.exception) == (RuntimeFailureReason.WORKSPACE_FAILED, "ModuleNotFoundError")
    assert (told.file, told.line) == (
        "src/taskrunner.py",
        line_of(workspace / "src" / "taskrunner.py", "import torhc"),
    )
    assert "torhc" in told.message


def test_a_syntax_error_is_reported_with_its_location(tmp_path: Path, shards: Path) -> None:
    workspace = copy_of_digits(tmp_path, replace={"src/model.py": ("PIXELS = 64", "PIXELS = = 64")})

    told = failed(workspace, tmp_path, shards / "c1", [])

    assert (told.exception, told.file) == ("SyntaxError", "src/model.py")
    assert told.line == line_of(workspace / "src" / "model.py", "PIXELS = = 64")


def test_an_exception_in_training_is_reported_with_task_and_round(tmp_path: Path, shards: Path) -> None:
    workspace = copy_of_digits(
        tmp_path,
        replace={
            "src/taskrunner.py": (
                "        loss = 0.0\n",
                "        loss = 0.0\n        assert round_num < 1, 'diverged'\n",
            )
        },
    )

    told = failed(workspace, tmp_path, shards / "c1", rounds(1, 2))

    assert (told.reason, told.exception, told.message) == (
        RuntimeFailureReason.WORKSPACE_FAILED,
        "AssertionError",
        "diverged",
    )
    assert (told.task, told.round, told.file) == ("train", 2, "src/taskrunner.py")
    assert told.line == line_of(workspace / "src" / "taskrunner.py", "diverged")


def test_a_missing_shard_is_reported_at_the_data_loaders_line(tmp_path: Path) -> None:
    told = failed(DIGITS, tmp_path, tmp_path / "nothing", [])

    assert (told.reason, told.file) == (RuntimeFailureReason.WORKSPACE_FAILED, "src/shard.py")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("return {**metrics, **trained}, {}", "return dict(list(trained.items())[1:]), {}", "hidden.weight"),
        (
            "return {**metrics, **trained}, {}",
            "return {TensorKey(k.tensor_name, *k[1:]): v.reshape(-1) for k, v in trained.items()}, {}",
            "shape",
        ),
        ('return {TensorKey("accuracy"', 'return {**TENSOR, TensorKey("accuracy"', "not the tensors of the model"),
        ('True, ("metric",)): np.array(loss)', 'False, ("metric",)): np.array([loss, loss])', "2 values"),
    ],
    ids=["missing-tensor", "other-shape", "tensor-of-validation", "metric-of-two"],
)
def test_an_invalid_update_fails_with_its_name(tmp_path: Path, shards: Path, old: str, new: str, named: str) -> None:
    workspace = copy_of_digits(tmp_path, replace={"src/taskrunner.py": (old, new)})
    with (workspace / "src" / "taskrunner.py").open("a", encoding="utf-8") as file:
        file.write('\nTENSOR = {TensorKey("a", "c-c1", 0, False, ("model",)): np.zeros(1)}\n')

    told = failed(workspace, tmp_path, shards / "c1", rounds(1))

    assert (told.reason, told.exception) == (RuntimeFailureReason.WORKSPACE_FAILED, "WorkspaceFault")
    assert named in told.message


def test_an_update_without_weight_is_not_sent(tmp_path: Path, shards: Path) -> None:
    workspace = copy_of_digits(tmp_path, replace={"src/dataloader.py": ("return len(self._train[1])", "return 0")})

    told = failed(workspace, tmp_path, shards / "c1", rounds(1))

    assert told.task == "train"
    assert "0 samples" in told.message


def test_a_task_that_the_plan_has_not_is_named(tmp_path: Path, shards: Path) -> None:
    told = failed(DIGITS, tmp_path, shards / "c1", [RoundWork(1, ("train", "distil"))])

    assert "distil" in told.message


def test_a_task_runner_that_writes_into_the_global_model_fails_where_it_does(tmp_path: Path, shards: Path) -> None:
    workspace = copy_of_digits(
        tmp_path,
        replace={
            "src/taskrunner.py": (
                "        loss = 0.0\n",
                "        loss = 0.0\n        input_tensor_dict['hidden.bias'] += 1\n",
            )
        },
    )

    told = failed(workspace, tmp_path, shards / "c1", rounds(1))

    assert told.line == line_of(workspace / "src" / "taskrunner.py", "+= 1")


HOLDING = """
from openfl.utilities import TensorKey

from src.taskrunner import DigitsTaskRunner


class Holding(DigitsTaskRunner):
    def train_task(self, col_name, round_num, input_tensor_dict, **kwargs):
        put_out, _ = super().train_task(col_name, round_num, input_tensor_dict, **kwargs)
        held = next(key for key in put_out if key.tensor_name == "output.bias")
        value = put_out.pop(held)
        return put_out, {held: value, TensorKey("output.bias", col_name, round_num + 1, False, ("model",)): value}

    def get_required_tensorkeys_for_function(self, func_name, **kwargs):
        held = TensorKey("output.bias", "LOCAL", 0, False, ("model",))
        keys = super().get_required_tensorkeys_for_function(func_name, **kwargs)
        return [held if key[:2] == ("output.bias", "GLOBAL") else key for key in keys]
"""


def test_tensors_that_are_held_out_stay_at_the_site_and_are_there_from_the_first_round(
    tmp_path: Path, shards: Path
) -> None:
    def hold_out(plan: dict[str, Any]) -> None:
        plan["task_runner"]["template"] = "src.holding.Holding"
        plan["task_runner"]["settings"]["tensor_dict_split_fn_kwargs"] = {"holdout_tensor_names": ["output.bias"]}

    workspace = copy_of_digits(tmp_path, plan=hold_out)
    (workspace / "src" / "holding.py").write_text(HOLDING, encoding="utf-8")
    exchange = MemoryExchange([InitialModelWork(), *rounds(1, 2)])

    assert run(workspace, tmp_path, shards / "c1", exchange) is None

    assert exchange.manifest is not None
    assert [tensor.name for tensor in exchange.manifest.tensors] == ["hidden.bias", "hidden.weight", "output.weight"]
    assert [update.round for update in exchange.updates] == [1, 2]
