"""Complete runs with the engine, the exchange and the client."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from federation.api.aggregator_run import COHORT_FILE, Cohort
from federation.kube.kinds import CONFIG_MAP
from federation.kube.resource import ObjectKey
from federation.rpc.orders import RunEnded
from federation.rpc.refusal import Refused
from hub_manager.aggregator import cohort_watch
from hub_manager.aggregator.cohort_watch import follow_server
from hub_manager.aggregator.config import AggregatorFolders, read_cohort, read_run
from hub_manager.aggregator.engine.driver import Driver
from hub_manager.aggregator.rounds.records import RunFailureReason
from tests.support.builders.models import MIXED
from tests.support.exchange.aggregator_runs import Pod, serving, site
from tests.support.exchange.engine_runs import COHORT, expected_models
from tests.support.exchange.exchange import client
from tests.support.exchange.rounds import cohort_of
from tests.support.fakes.fake_api import FakeApi
from tests.support.waiting import until


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


async def test_final_model_equals_the_reference(pod: Pod) -> None:
    living, port = await serving(pod.aggregator())

    endings = await asyncio.gather(*(asyncio.to_thread(site, pod, port, cluster) for cluster in COHORT))
    state = await living

    assert state.ended is not None
    assert state.ended.failure is None
    assert pod.model(3) == expected_models()[-1]
    assert all(isinstance(ending, RunEnded) and ending.completed for ending in endings)
    assert {ending.model.digest for ending in endings if ending.model is not None} == {state.model}


@pytest.mark.parametrize("after", [1, 4, 8], ids=["in round 1", "in round 2", "in round 3"])
async def test_restarted_aggregator_computes_the_same_model(pod: Pod, after: int) -> None:
    living, port = await serving(pod.aggregator())
    loop = asyncio.get_running_loop()
    done: list[tuple[str, int]] = []
    enough = asyncio.Event()

    def seen(cluster: str, round_: int) -> None:
        done.append((cluster, round_))
        if len(done) == after:
            loop.call_soon_threadsafe(enough.set)

    sites = [asyncio.create_task(asyncio.to_thread(site, pod, port, cluster, seen)) for cluster in COHORT]
    await enough.wait()
    living.cancel()
    await asyncio.wait({living})
    successor, _ = await serving(pod.aggregator(port))
    await asyncio.gather(*sites)
    state = await successor

    assert state.ended is not None
    assert pod.model(3) == expected_models()[-1]


async def test_collaborators_that_reconnect_after_a_restart_receive_the_end_of_the_run(pod: Pod) -> None:
    first, port = await serving(pod.aggregator())
    await asyncio.gather(*(asyncio.to_thread(site, pod, port, cluster) for cluster in COHORT))
    await first
    successor, port = await serving(pod.aggregator())

    endings = await asyncio.gather(*(asyncio.to_thread(site, pod, port, cluster) for cluster in COHORT))
    await successor

    assert [ending.completed for ending in endings] == [True] * len(COHORT)


async def test_run_continues_without_a_revoked_cluster(pod: Pod) -> None:
    pod.submit(min_clients_per_round=2)
    living, port = await serving(pod.aggregator())

    def seen(cluster: str, round_: int) -> None:
        if cluster == "c2" and round_ == 1:
            pod.write_cohort(*COHORT, revoked=("c2",))

    honest = [asyncio.create_task(asyncio.to_thread(site, pod, port, cluster)) for cluster in COHORT[:2]]
    with pytest.raises(Refused) as refused:
        await asyncio.to_thread(site, pod, port, "c2", seen)
    await asyncio.gather(*honest)
    state = await living

    assert refused.value.reason in {"Removed", "NotInCohort"}
    assert state.ended is not None
    assert state.ended.failure is None
    assert state.removed == {"c2"}


async def test_revocation_through_the_api_server_precedes_the_file(pod: Pod) -> None:
    pod.submit(min_clients_per_round=2)
    api = FakeApi()
    cohort = {"metadata": {"name": "mnist-server", "namespace": "default"}, "data": {COHORT_FILE: "no JSON"}}
    await api.create(CONFIG_MAP, cohort)
    followed = partial(follow_server, api, read_run(pod.folders))
    living, port = await serving(pod.aggregator(), followed=followed)
    loop = asyncio.get_running_loop()

    def seen(cluster: str, round_: int) -> None:
        if cluster == "c2" and round_ == 1:
            reported = msgspec.json.encode(cohort_of(2, COHORT, ("c2",))).decode()
            patch = api.merge_patch(CONFIG_MAP, ObjectKey("default", "mnist-server"), {"data": {COHORT_FILE: reported}})
            asyncio.run_coroutine_threadsafe(patch, loop).result(10)

    honest = [asyncio.create_task(asyncio.to_thread(site, pod, port, cluster)) for cluster in COHORT[:2]]
    with pytest.raises(Refused) as refused:
        await asyncio.to_thread(site, pod, port, "c2", seen)
    await asyncio.gather(*honest)
    state = await living

    assert refused.value.reason in {"Removed", "NotInCohort"}
    assert state.removed == {"c2"}


def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Count the reads of the cohort's file; return a function that waits until its content was passed on."""
    count = 0

    def counted(folders: AggregatorFolders) -> Cohort:
        nonlocal count
        count += 1
        return read_cohort(folders)

    async def looked_at() -> None:
        enough = count + 3
        await until(lambda: count >= enough)

    monkeypatch.setattr(cohort_watch, "read_cohort", counted)
    return looked_at


async def until_joins(pod: Pod, port: int, expected: bool) -> None:
    """Wait until the aggregator accepts, or refuses, a join of c2."""
    async with asyncio.timeout(60):
        while await asyncio.to_thread(_joins, pod, port, "c2") is not expected:
            pass


async def test_readmitted_cluster_joins_again_despite_an_older_file(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = looks(monkeypatch)
    pod.submit(min_clients_per_round=2, rounds=2)
    api = FakeApi()
    cohort = {"metadata": {"name": "mnist-server", "namespace": "default"}, "data": {}}
    await api.create(CONFIG_MAP, cohort)
    living, port = await serving(pod.aggregator(), followed=partial(follow_server, api, read_run(pod.folders)))

    async def patch_cohort(generation: int, *revoked: str) -> None:
        """Patch only the ConfigMap: the file still lists all clusters as members."""
        reported = msgspec.json.encode(cohort_of(generation, COHORT, revoked)).decode()
        await api.merge_patch(CONFIG_MAP, ObjectKey("default", "mnist-server"), {"data": {COHORT_FILE: reported}})

    await until_joins(pod, port, True)
    await patch_cohort(9, "c2")
    await until_joins(pod, port, False)
    pod.write_cohort(*COHORT, generation=8)
    await looked_at()
    await until_joins(pod, port, False)
    living.cancel()
    await asyncio.wait({living})
    living, port = await serving(pod.aggregator())
    await looked_at()
    await until_joins(pod, port, False)
    pod.write_cohort(*COHORT, generation=10)
    await until_joins(pod, port, True)
    await asyncio.gather(*(asyncio.to_thread(site, pod, port, cluster) for cluster in COHORT))
    state = await living

    assert state.ended is not None
    assert state.ended.failure is None
    assert state.members == COHORT


def _joins(pod: Pod, port: int, cluster: str) -> bool:
    with client(f"127.0.0.1:{port}", pod.desk.collaborator(cluster), cluster) as mine:
        try:
            mine.join(MIXED)
        except Refused:
            return False
        return True


async def test_metrics_show_the_rounds(pod: Pod) -> None:
    registry = CollectorRegistry()
    living, port = await serving(pod.aggregator(registry=registry))

    await asyncio.gather(*(asyncio.to_thread(site, pod, port, cluster) for cluster in COHORT))
    await living

    def value(name: str) -> float | None:
        return registry.get_sample_value(name)

    assert value("federated_learning_aggregator_rounds") == 3
    assert value("federated_learning_aggregator_round") == 3
    assert value("federated_learning_aggregator_final_evaluation") == 0
    assert value("federated_learning_aggregator_cohort_size") == len(COHORT)
    # The initial model, and one for each round.
    assert value("federated_learning_aggregator_fold_duration_seconds_count") == 4


async def test_run_without_members_fails_with_the_reason(pod: Pod) -> None:
    living, _ = await serving(pod.aggregator())
    pod.write_cohort(*COHORT, revoked=COHORT)

    state = await living

    assert state.ended is not None
    assert state.ended.failure is RunFailureReason.QUORUM_LOST


async def test_probes_report_serving_and_a_hanging_volume(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    aggregator = pod.aggregator()
    before = aggregator.ready()
    living, _ = await serving(aggregator)
    serves = aggregator.ready()
    monkeypatch.setattr(Driver, "stuck_for", lambda _driver: 301.0)
    hangs = aggregator.healthy()
    living.cancel()
    await asyncio.wait({living})

    assert before == "the run's folder is being opened"
    assert serves is None
    assert hangs == "the run's volume has not answered for 301 s"
    assert aggregator.ready() == "the run is over"
