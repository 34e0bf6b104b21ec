"""The plan of a run: the same on the hub and at every site, fixed for the attempt, and named where it can't be had."""

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
    """The user makes the ConfigMap, or changes it."""
    data = {} if text is None else {"data": {key: text}}
    world.api.seed(CONFIG_MAP, {"metadata": {"name": "plans", "namespace": "default"}, **data})


async def waiting(text: str = FIRST, **fields: Any) -> RunWorld:
    """A run whose sites are asked, and have not all answered."""
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
    """The text that the hub's export is given."""
    volumes = world.one(JOB, SERVER)["spec"]["template"]["spec"]["volumes"]
    (source,) = [volume["configMap"] for volume in volumes if volume["name"] == "plan"]
    (item,) = source["items"]
    data: Json = world.one(CONFIG_MAP, ObjectKey("default", source["name"]))["data"]
    return {item["path"]: data[item["key"]]}


async def test_the_hub_exports_from_the_text_that_every_site_goes_by() -> None:
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
async def test_a_file_of_the_image_is_named_to_the_sites_as_well(plan: Json, told: Json | None) -> None:
    world = clusters(RunWorld(reads_no_plans=True), "c1", "c2")
    await world.submit(run_json(server={"plan": plan}))
    await world.settle()

    assert plans(world) == [told, told]
    assert world.run().status.phase == "Running"


async def test_a_text_is_the_attempts_whatever_becomes_of_the_config_map_while_rounds_are_run() -> None:
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


async def test_an_edit_before_the_run_has_begun_asks_the_sites_anew() -> None:
    """The site that has accepted the first text has not accepted the second."""
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


async def test_an_ended_run_is_not_begun_anew_by_an_edit_and_another_attempt_takes_it_up() -> None:
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
async def test_a_plan_that_can_not_be_had_is_named_and_the_run_goes_on_once_it_can(
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


async def test_no_site_is_asked_before_the_config_map_has_been_looked_for() -> None:
    world = clusters(RunWorld(reads_no_plans=True), "c1", "c2")
    write(world)
    await world.submit(RUN)
    await world.settle()
    assert world.condition("Scheduled") == ("Unknown", "PlanPending")
    assert world.works() == []

    world.reads_no_plans = False
    await world.settle()
    assert world.run().status.phase == "Running"


async def test_a_copy_that_was_deleted_is_made_anew_of_the_same_text_and_of_no_other() -> None:
    world = await running()
    world.api.remove(CONFIG_MAP, COPY)
    await world.settle()
    assert exported(world) == {"digits.yaml": FIRST}

    world.api.remove(CONFIG_MAP, COPY)
    write(world, SECOND)
    await world.settle()
    assert plans(world) == [{"text": FIRST}] * 2
    assert world.run().status.phase == "Running"


async def test_the_copy_goes_with_what_else_belongs_to_an_ended_run() -> None:
    world = await running()
    world.set_job("Complete", succeeded=1)
    await world.change(ttlSecondsAfterFinished=0)
    await world.settle()

    assert [o["metadata"]["name"] for o in world.api.objects(CONFIG_MAP)] == ["plans"]


async def test_another_plan_of_a_changed_spec_waits_for_the_end_of_the_rounds() -> None:
    world = await running()

    await world.change(server={"plan": {"configMap": None, "path": "plan/other.yaml"}})
    await world.settle()
    assert (plans(world), exported(world)) == ([{"text": FIRST}] * 2, {"digits.yaml": FIRST})

    world.set_job("Complete", succeeded=1)
    await world.settle()
    assert world.run(KEY).status.attempt == 2
    assert plans(world) == [{"file": "plan/other.yaml"}] * 2
