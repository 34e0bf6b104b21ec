"""Each trap of OpenFL 1.9, shown to be one, and what is done about it."""

import inspect
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from openfl.component.collaborator import collaborator as openfl_collaborator
from openfl.component.collaborator.collaborator import Collaborator
from openfl.databases import TensorDB
from openfl.pipelines import NoCompressionPipeline, TensorCodec
from openfl.utilities import TensorKey, change_tags

from runtimes.openfl import workarounds

pytestmark = pytest.mark.openfl


@pytest.fixture(autouse=True)
def mended() -> None:
    workarounds.apply()


def key(name: str, number: int = 0, *tags: str, report: bool = False) -> TensorKey:
    return TensorKey(name, "c-c1", number, report, tags or ("model",))


def test_openfl_can_be_imported_without_pip() -> None:
    assert find_spec("openfl") is not None
    assert not hasattr(sys.modules["pip"], "__file__")


def test_openfls_own_pipeline_needs_no_newshape(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_newshape(_array: np.ndarray, _shape: tuple[int, ...], _order: str = "C") -> np.ndarray:
        raise AssertionError("np.reshape(newshape=…) is gone in numpy 2.4")

    monkeypatch.setattr(np, "reshape", without_newshape)
    pipeline = NoCompressionPipeline()

    data, metadata = pipeline.forward(np.arange(6, dtype=np.float32).reshape(2, 3))

    assert pipeline.backward(data, metadata).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "value", [0.5, 1, np.float64(0.5), np.array([[0.5]]), True], ids=lambda value: type(value).__name__
)
def test_a_metric_may_be_any_number(value: object) -> None:
    data, metadata = workarounds.Float32Pipeline().forward(value)

    assert workarounds.Float32Pipeline().backward(data, metadata).item() == pytest.approx(
        float(np.asarray(value).item())
    )


def test_received_arrays_are_read_only() -> None:
    array = workarounds.Float32().backward(bytearray(8), {"int_list": [2]})

    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_the_aggregators_name_makes_openfl_tell_models_from_deltas() -> None:
    delta = TensorKey("w", workarounds.aggregator_name("8a6e"), 1, False, ("aggregated", "delta"))

    made, value = TensorCodec.apply_delta(delta, np.ones(2), np.ones(2))

    assert (made.tags, value.tolist()) == (("aggregated",), [2, 2])


TAGS = ("aggregated", "compressed", "delta", "lossy_compressed", "metric", "model", "trained")


@pytest.mark.parametrize("cluster", ["us-west-1", "c1", *TAGS])
def test_a_clusters_name_is_taken_for_no_tag_and_sorts_before_all_but_one(cluster: str) -> None:
    name = workarounds.collaborator_name(cluster)

    assert change_tags(TAGS, add_field=name) == ("aggregated", name, *TAGS[1:])


def test_a_plan_can_not_turn_deltas_on() -> None:
    settings = workarounds.collaborator_settings({"use_delta_updates": True, "opt_treatment": "CONTINUE_LOCAL"})

    assert settings["use_delta_updates"] is False
    assert settings["opt_treatment"] == "CONTINUE_LOCAL"


def test_two_collaborators_share_no_callbacks() -> None:
    shared_by_default = inspect.signature(Collaborator).parameters["callbacks"].default

    first, second = (
        workarounds.collaborator_settings({})["callbacks"],
        workarounds.collaborator_settings({})["callbacks"],
    )

    assert shared_by_default == []
    assert first is not second
    assert first is not shared_by_default


def test_nothing_is_written_beside_the_workspace() -> None:
    settings = workarounds.collaborator_settings({"write_logs": True, "log_memory_usage": True})

    assert (settings["write_logs"], settings["log_memory_usage"]) == (False, False)


def test_the_collaborator_is_given_the_indexed_database() -> None:
    assert openfl_collaborator.TensorDB is workarounds.IndexedTensorDB


@pytest.mark.parametrize("database", [TensorDB, workarounds.IndexedTensorDB], ids=["openfl", "ours"])
class TestTensorDatabases:
    """The properties of OpenFL's database and its replacement that the collaborator relies on."""

    def test_the_first_of_two_under_one_key_counts(self, database: type[TensorDB]) -> None:
        tensors = database()
        tensors.cache_tensor({key("w"): np.zeros(2)})
        tensors.cache_tensor({key("w"): np.ones(2)})

        assert tensors.get_tensor_from_cache(key("w")).tolist() == [0, 0]

    @pytest.mark.parametrize(
        "other",
        [
            key("v"),
            key("w", 1),
            key("w", 0, "trained"),
            key("w", report=True),
            TensorKey("w", "c", 0, False, ("model",)),
        ],
        ids=["name", "round", "tags", "report", "origin"],
    )
    def test_every_part_of_a_key_tells_tensors_apart(self, database: type[TensorDB], other: TensorKey) -> None:
        tensors = database()
        tensors.cache_tensor({key("w"): np.zeros(2)})

        assert tensors.get_tensor_from_cache(other) is None

    @pytest.mark.parametrize(("keep", "left"), [(1, [2]), (2, [1, 2]), (-1, [0, 1, 2])], ids=["one", "two", "all"])
    def test_rounds_are_forgotten_by_age(self, database: type[TensorDB], keep: int, left: list[int]) -> None:
        tensors = database()
        for number in range(3):
            tensors.cache_tensor({key("w", number): np.zeros(2)})

        tensors.clean_up(keep)

        assert [number for number in range(3) if tensors.get_tensor_from_cache(key("w", number)) is not None] == left


def test_old_metrics_do_not_add_up() -> None:
    tensors = workarounds.IndexedTensorDB()
    for number in range(3):
        tensors.cache_tensor({key("loss", number, "metric", report=True): np.array(0.5)})
        tensors.clean_up(1)

    assert tensors.get_tensor_from_cache(key("loss", 0, "metric", report=True)) is None
    assert tensors.get_tensor_from_cache(key("loss", 2, "metric", report=True)) is not None
