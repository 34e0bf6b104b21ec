"""Configuration files of an aggregator, and the status that it reports."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from federation.api.federated_learning import Aggregation
from federation.exported_plan import MODEL_FILE, PLAN_FILE
from federation.kube.kinds import FEDERATED_LEARNING
from federation.model import DType, TensorSpec, manifest_of
from federation.rpc.exchange_client import ExchangeClient
from federation.rpc.orders import Round, Update
from federation.rpc.refusal import Refused
from federation.safetensors import header
from hub_manager.aggregator.config import ConfigError, aggregation_of, read_config
from hub_manager.aggregator.domain import JoinPolicy
from hub_manager.aggregator.numerics.algorithms import Adam, Median, Momentum, TrimmedMean, WeightedMean, Yogi
from hub_manager.aggregator.reporting.reporter import Reporter, report_unusable
from hub_manager.aggregator.rounds.decisions import cohort_records
from hub_manager.aggregator.rounds.records import CohortApplied, PeerAdmitted, PeerDropped
from hub_manager.aggregator.rounds.state import new_run
from hub_manager.aggregator.storage.initial_model import ModelUnusable, read_initial_model
from hub_manager.aggregator.validation.manifest import ModelLimits
from tests.support.builders.models import MIXED, packed
from tests.support.exchange.aggregator_runs import PLAN, Pod, serving, site
from tests.support.exchange.attacker import Attacker, Target, announced, reason_of
from tests.support.exchange.engine_runs import COHORT, initial_model
from tests.support.exchange.exchange import client
from tests.support.exchange.rounds import cohort_of, parameters
from tests.support.exchange.tls import RUN, SERVER_NAME
from tests.support.fakes.fake_api import FakeApi

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_restarted_run_keeps_its_parameters(pod: Pod) -> None:
    before = read_config(pod.folders).parameters
    pod.submit(rounds=99)
    pod.write_cohort("c1")

    assert read_config(pod.folders).parameters == before
    assert before.cohort == COHORT


def test_weight_of_a_site_is_limited(pod: Pod) -> None:
    pod.submit(max_samples_per_client=1000)

    assert read_config(pod.folders).parameters.max_weight == 1000


def test_default_weight_limit_keeps_sums_exact(pod: Pod) -> None:
    assert read_config(pod.folders).parameters.max_weight == 1 << 40


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda pod: (pod.folders.run / "run.json").unlink(), r"run\.json: No such file"),
        (lambda pod: (pod.folders.run / "run.json").write_text("{}"), r"run\.json: .*required field `id`"),
        (lambda pod: (pod.folders.workspace / PLAN_FILE).unlink(), r"plan\.json: No such file.*a runtime's base image"),
        (lambda pod: (pod.folders.workspace / PLAN_FILE).write_text("[]"), r"plan\.json: Expected `object`"),
        (lambda pod: pod.submit(join_policy="Sometimes"), r"run\.json: 'Sometimes' is not a valid JoinPolicy"),
        (lambda pod: pod.submit(rounds=0), r"run\.json: rounds"),
        (lambda pod: pod.submit(max_samples_per_client=(1 << 40) + 1), r"run\.json: .*max_weight"),
        (
            lambda pod: pod.submit(aggregation=Aggregation(algorithm="Mode")),
            r"algorithm 'Mode': set it to one of WeightedMean",
        ),
    ],
    ids=["no run", "half a run", "no plan", "another plan", "join policy", "rounds", "samples", "algorithm"],
)
def test_invalid_configuration_is_named(pod: Pod, break_it: Callable[[Pod], None], message: str) -> None:
    break_it(pod)

    with pytest.raises(ConfigError, match=message):
        read_config(pod.folders)


@pytest.mark.parametrize(
    ("algorithm", "combination", "optimizer"),
    [
        ("WeightedMean", WeightedMean(), None),
        ("Median", Median(), None),
        ("TrimmedMean", TrimmedMean(0.2), None),
        ("Momentum", WeightedMean(), Momentum(0.5, 0.8)),
        ("Adam", WeightedMean(), Adam(0.5, 0.8, 0.7, 0.01)),
        ("Yogi", WeightedMean(), Yogi(0.5, 0.8, 0.7, 0.01)),
    ],
)
def test_each_algorithm_of_the_api_is_supported(algorithm: str, combination: object, optimizer: object) -> None:
    requested_from = Aggregation(
        algorithm=algorithm, trim_ratio=0.2, learning_rate=0.5, beta1=0.8, beta2=0.7, epsilon=0.01
    )

    found = aggregation_of(requested_from, PLAN)

    assert (found.combination, found.optimizer) == (combination, optimizer)


def test_plan_sets_the_algorithm_if_the_resource_has_the_default() -> None:
    plan = msgspec.structs.replace(PLAN, aggregation="Median")

    assert aggregation_of(Aggregation(), plan).combination == Median()
    assert aggregation_of(Aggregation(algorithm="TrimmedMean"), plan).combination == TrimmedMean(0.1)


def test_frozen_cohort_drops_only_revoked_clusters() -> None:
    frozen = new_run(parameters(COHORT))

    assert cohort_records(frozen, cohort_of(1, ("c1", "c7"), ("c2", "c9"))) == (CohortApplied(1), PeerDropped("c2"))


def test_next_round_policy_admits_and_drops_clusters() -> None:
    open_ = new_run(parameters(COHORT, join_policy=JoinPolicy.NEXT_ROUND))

    assert cohort_records(open_, cohort_of(1, ("c1", "c10", "c7", "c8"), ("c8",))) == (
        CohortApplied(1),
        PeerDropped("c2"),
        PeerAdmitted("c7"),
    )


ONE = manifest_of([TensorSpec("w", DType.FLOAT32, (2,)), TensorSpec("b", DType.FLOAT32, (1,))])


def _header(**entries: Any) -> bytes:
    text = msgspec.json.encode(entries)
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "truncated|JSON|Input data"),
        ((1 << 62).to_bytes(8, "little"), "the header has 4611686018427387904 bytes"),
        (_header(w=[1]), "Expected `object`"),
        (_header(w={"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}) + bytes(8), "TensorType"),
        (_header(w={"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}) + bytes(4), "ModelTooLarge"),
        (_header(w={"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}) + bytes(12), "not contiguous"),
        (header(ONE, {}) + bytes(11), "not contiguous"),
        (header(ONE, {}) + b"\xff\xff\xff\x7f" * 3, "not a number"),
    ],
    ids=["empty", "huge header", "shape of header", "integers", "huge tensor", "gap", "short", "NaN"],
)
def test_invalid_initial_model_is_rejected(tmp_path: Path, file: bytes, message: str) -> None:
    path = tmp_path / MODEL_FILE
    path.write_bytes(file)

    with pytest.raises(ModelUnusable, match=message):
        read_initial_model(path, ModelLimits())


async def test_run_starts_from_the_initial_model_of_the_workspace(pod: Pod) -> None:
    model = packed(MIXED, initial_model())
    pod.export_initial_model(header(MIXED, {}) + model)
    living, port = await serving(pod.aggregator())

    with client(f"127.0.0.1:{port}", pod.desk.collaborator("c1")) as mine:
        joined = await asyncio.to_thread(mine.join, None)
        living.cancel()
        await asyncio.wait({living})

    assert joined.manifest == MIXED
    assert pod.model(0) == model


async def test_status_shows_the_rounds(pod: Pod) -> None:
    api = FakeApi()
    run = {"metadata": {"name": "digits", "namespace": "default", "uid": "run-uid"}, "spec": {}}
    api.seed(FEDERATED_LEARNING, run | {"apiVersion": FEDERATED_LEARNING.api_version, "kind": FEDERATED_LEARNING.kind})
    config = read_config(pod.folders)
    reporter = Reporter(api, config.run, clock=lambda: NOW)
    living, port = await serving(pod.aggregator(), reporter)

    await asyncio.gather(*(asyncio.to_thread(site, pod, port, cluster) for cluster in COHORT))
    state = await living

    [stored] = api.objects(FEDERATED_LEARNING)
    status = stored["status"]
    assert (status["round"], status["rounds"], status["progressPercent"]) == (3, 3, 100)
    assert status["model"] == {
        "location": "digits/checkpoints/round-000003/model.safetensors",
        "digest": state.model,
        "size": MIXED.nbytes,
        "round": 3,
    }
    assert [(c["name"], c["round"], c["samples"], c["lastSeen"]) for c in status["clusters"]] == [
        ("c1", 3, 10, "2030-01-01T12:00:00Z"),
        ("c10", 3, 3, "2030-01-01T12:00:00Z"),
        ("c2", 3, 901, "2030-01-01T12:00:00Z"),
    ]
    assert [(metric["name"], "round" in metric) for metric in status["metrics"]] == [("accuracy", False)]
    assert "failure" not in status
    assert {call.subresource for call in api.calls} == {"status"}


async def test_run_that_can_not_start_reports_the_reason(pod: Pod) -> None:
    api = FakeApi()
    run = {"metadata": {"name": "digits", "namespace": "default", "uid": "run-uid"}, "spec": {}}
    api.seed(FEDERATED_LEARNING, run | {"apiVersion": FEDERATED_LEARNING.api_version, "kind": FEDERATED_LEARNING.kind})

    await report_unusable(api, read_config(pod.folders).run, "ConfigError", "plan.json: No such file")

    [stored] = api.objects(FEDERATED_LEARNING)
    assert stored["status"]["failure"] == {"reason": "ConfigError", "message": "plan.json: No such file"}


@pytest.mark.parametrize(
    ("update", "make", "reason"),
    [
        (Update(1, "train", 10), lambda data: data[:-2] + b"\xc0\x7f", "NotANumber"),
        (Update(1, "train", 10), lambda data: data[:-2] + b"\x80\x7f", "Infinite"),
        (Update(1, "train", 10), lambda data: data[:-4], "WrongSize"),
        (Update(1, "train", 10), lambda data: data * 2, "WrongSize"),
        (Update(1, "train", 0), bytes, "WeightOutOfBounds"),
        (Update(1, "train", 1 << 63), bytes, "WeightOutOfBounds"),
        (Update(1, "train", 1001), bytes, "WeightOutOfBounds"),
        (Update(2, "train", 10), bytes, "OtherRound"),
        (Update(1, "dream", 10), bytes, "UnknownTask"),
    ],
    ids=[
        "NaN",
        "infinity",
        "short",
        "long",
        "weight 0",
        "weight huge",
        "a sample too many",
        "other round",
        "unknown task",
    ],
)
async def test_run_completes_without_a_rejected_hostile_update(
    pod: Pod, update: Update, make: Callable[[bytes], bytes], reason: str
) -> None:
    pod.submit(min_clients_per_round=2, rounds=1, max_samples_per_client=1000)
    living, port = await serving(pod.aggregator())

    def hostile() -> str:
        with client(f"127.0.0.1:{port}", pod.desk.collaborator("c2"), "c2") as mine:
            _await_round(mine)
            with pytest.raises(Refused) as refused:
                mine.upload(update, make(packed(MIXED, initial_model())))
        pod.write_cohort(*COHORT, revoked=("c2",))
        return refused.value.reason

    others = [asyncio.create_task(asyncio.to_thread(site, pod, port, cluster)) for cluster in COHORT[:2]]
    found = await asyncio.to_thread(hostile)
    await asyncio.gather(*others)
    state = await living

    assert found == reason
    assert state.ended is not None
    assert state.ended.failure is None


async def test_upload_at_a_wrong_offset_is_refused_with_the_right_one(pod: Pod) -> None:
    pod.submit(min_clients_per_round=2, rounds=1)
    living, port = await serving(pod.aggregator())
    files, data = pod.desk.collaborator("c2"), packed(MIXED, initial_model())

    def elsewhere() -> str:
        with client(f"127.0.0.1:{port}", files, "c2") as mine:
            _await_round(mine)
            attacker = Attacker(Target(f"127.0.0.1:{port}", SERVER_NAME, RUN, "c2"), files)
            with pytest.raises(grpc.RpcError) as refused:
                attacker.upload(announced(data, 1), data[8:], offset=8)
            attacker.close()
        pod.write_cohort(*COHORT, revoked=("c2",))
        return reason_of(refused.value)

    others = [asyncio.create_task(asyncio.to_thread(site, pod, port, cluster)) for cluster in COHORT[:2]]
    found = await asyncio.to_thread(elsewhere)
    await asyncio.gather(*others)
    await living

    assert found == "OutOfPlace"


def _await_round(mine: ExchangeClient) -> None:
    """Join, and wait for the first round."""
    mine.join(MIXED)
    order = mine.next_order()
    while not isinstance(order, Round):
        order = mine.next_order(order)
