"""Test a run's training plan: equal on the hub and all clusters, fixed for the attempt, and reported if unavailable."""

from typing import Any

import pytest

from federation.kube.kinds import CONFIG_MAP, JOB
from federation.kube.resource import Json, ObjectKey
from tests.support.builders.run_objects import run_json
from tests.support.fakes.run_world import KEY, RunWorld, clusters

SERVER = ObjectKey("default", "mnist-server")
COPY = ObjectKey("default", "mnist-server-plan")
RUN = run_json(server={"plan": {"configMap": "plans", "key": "digits.yaml"}})
FIRST, SECOND = "tasks: {epochs: 1}\n", "tasks: {epochs: 2}\n"


def write(world: RunWorld, text: str | None = FIRST, key: str = "digits.yaml") -> None:
    """Create or change the user's ConfigMap."""
    data = {} if text is None else {"data": {key: text}}
    world.api.seed(CONFIG_MAP, {"metadata": {"name": "plans", "namespace": "default"}, **data})


async def waiting(text: str = FIRST, **fields: Any) -> RunWorld:
    """Return a run that has asked its clusters, of which one has not answered."""
    world = clusters(RunWorld(silent={"c2"}, **fields), "c1", "c2")
    write(world, text)
    await world.submit(RUN)
    await world.settle()
    return world


async def running(text: str = FIRST) -> RunWorld:
    world = await waiting(text)
    world.silent.clear()
    await world.settle()
    world.set_job(ready=1, active=1)
    await world.settle()
    return world


def plans(world: RunWorld) -> list[Any]:
    return [spec.get("plan") for spec in world.collaborators().values()]


def exported(world: RunWorld) -> Json:
    """Return the text that the hub's export reads."""
    volumes = world.one(JOB, SERVER)["spec"]["template"]["spec"]["volumes"]
    (source,) = [volume["configMap"] for volume in volumes if volume["name"] == "plan"]
    (item,) = source["items"]
    data: Json = world.one(CONFIG_MAP, ObjectKey("default", source["name"]))["data"]
    return {item["path"]: data[item["key"]]}


async def test_the_hub_exports_the_plan_that_every_cluster_gets() -> None:
    world = await running()

    assert plans(world) == [{"text": FIRST}, {"text": FIRST}]
    assert exported(world) == {"digits.yaml": FIRST}
    assert world.run().status.phase == "Running"
    assert await world.writes_of() == 0


@pytest.mark.parametrize(
    ("plan", "told"),
    [({}, None), ({"path": "plan/fast.yaml"}, {"file": "plan/fast.yaml"})],
    ids=["the image's own", "another file of the image"],
)
async def test_a_plan_file_in_the_image_is_sent_to_the_clusters(plan: Json, told: Json | None) -> None:
    world = clusters(RunWorld(reads_no_plans=True), "c1", "c2")
    await world.submit(run_json(server={"plan": plan}))
    await world.settle()

    assert plans(world) == [told, told]
    assert world.run().status.phase == "Running"


async def test_a_plan_is_fixed_for_the_attempt_when_its_config_map_changes() -> None:
    world = await running()
    before = world.everything()

    for text in (SECOND, None, "x" * 200_000):
        write(world, text)
        await world.settle()
        assert await world.writes_of() == 0
    world.api.remove(CONFIG_MAP, ObjectKey("default", "plans"))
    world.restart()
    await world.settle()

    after = world.everything()
    assert {kind: after[kind] for kind in after if kind != "ConfigMap"} == {
        kind: before[kind] for kind in before if kind != "ConfigMap"
    }
    assert (plans(world), exported(world)) == ([{"text": FIRST}] * 2, {"digits.yaml": FIRST})


async def test_an_edited_plan_asks_the_clusters_again_before_the_cohort_is_fixed() -> None:
    """A cluster that accepted the first text has not accepted the second."""
    world = await waiting()
    assert world.run().status.attempt == 1
    first = {spec["run"]["id"] for spec in world.collaborators().values()}

    write(world, SECOND)
    await world.settle()

    assert world.run().status.attempt == 2
    assert plans(world) == [{"text": SECOND}, {"text": SECOND}]
    assert not first & {spec["run"]["id"] for spec in world.collaborators().values()}
    world.silent.clear()
    await world.settle()
    assert exported(world) == {"digits.yaml": SECOND}


async def test_an_edited_plan_waits_for_the_next_attempt_of_an_ended_run() -> None:
    world = await running()
    world.set_job("Complete", succeeded=1)
    await world.settle()

    write(world, SECOND)
    await world.settle()
    assert (world.run().status.phase, world.run().status.attempt) == ("Completed", 1)

    await world.change(server={"rounds": 7})
    await world.settle()
    assert world.run().status.attempt == 2
    assert (plans(world), exported(world)) == ([{"text": SECOND}] * 2, {"digits.yaml": SECOND})


@pytest.mark.parametrize(
    ("text", "key", "reason", "words"),
    [
        (None, "digits.yaml", "PlanNotFound", "spec.server.plan.key: write the plan into the ConfigMap plans"),
        (FIRST, "plan.yaml", "PlanNotFound", "its keys are: plan.yaml"),
        ("", "digits.yaml", "PlanNotFound", "under the key digits.yaml"),
        ("é" * 65537, "digits.yaml", "PlanTooLarge", "from 131074 to 131072 bytes"),
    ],
    ids=["empty", "another key", "no text", "too large"],
)
async def test_an_unavailable_plan_is_reported_and_the_run_continues_once_it_exists(
    text: str | None, key: str, reason: str, words: str
) -> None:
    world = clusters(RunWorld(), "c1", "c2")
    write(world, text, key)
    await world.submit(RUN)
    await world.settle()
    assert world.condition("Scheduled") == ("False", reason)
    assert words in world.run().status.message
    assert world.works() == []

    write(world)
    await world.settle()
    assert (world.run().status.phase, world.run().status.attempt) == ("Running", 1)
    assert plans(world) == [{"text": FIRST}] * 2


async def test_a_missing_config_map_is_named_with_the_remedy() -> None:
    world = clusters(RunWorld(), "c1", "c2")
    await world.submit(RUN)
    await world.settle()

    assert world.condition("Scheduled") == ("False", "PlanNotFound")
    said = "spec.server.plan.configMap: create the ConfigMap plans in namespace default"
    assert world.run().status.message.startswith(said)


async def test_no_cluster_is_asked_before_the_config_map_is_read() -> None:
    world = clusters(RunWorld(reads_no_plans=True), "c1", "c2")
    write(world)
    await world.submit(RUN)
    await world.settle()
    assert world.condition("Scheduled") == ("Unknown", "PlanPending")
    assert world.works() == []

    world.reads_no_plans = False
    await world.settle()
    assert world.run().status.phase == "Running"


async def test_a_deleted_copy_of_the_plan_is_created_again_only_with_the_same_text() -> None:
    world = await running()
    world.api.remove(CONFIG_MAP, COPY)
    await world.settle()
    assert exported(world) == {"digits.yaml": FIRST}

    world.api.remove(CONFIG_MAP, COPY)
    write(world, SECOND)
    await world.settle()
    assert plans(world) == [{"text": FIRST}] * 2
    assert world.run().status.phase == "Running"


async def test_the_copy_of_the_plan_is_deleted_after_the_time_to_live() -> None:
    world = await running()
    world.set_job("Complete", succeeded=1)
    await world.change(ttlSecondsAfterFinished=0)
    await world.settle()

    assert [o["metadata"]["name"] for o in world.api.objects(CONFIG_MAP)] == ["plans"]


async def test_a_changed_plan_in_the_spec_waits_for_the_end_of_the_rounds() -> None:
    world = await running()

    await world.change(server={"plan": {"configMap": None, "path": "plan/other.yaml"}})
    await world.settle()
    assert (plans(world), exported(world)) == ([{"text": FIRST}] * 2, {"digits.yaml": FIRST})

    world.set_job("Complete", succeeded=1)
    await world.settle()
    assert world.run(KEY).status.attempt == 2
    assert plans(world) == [{"file": "plan/other.yaml"}] * 2
