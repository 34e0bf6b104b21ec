"""The changes that trigger the reconciler of Collaborators."""

import asyncio

from prometheus_client import CollectorRegistry

from federation.api.collaborator import APPROVAL_PREFIX, APPROVED
from federation.kube.kinds import COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY, DATASET
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey
from spoke_agent.collaborator.controllers import collaborator_parts
from spoke_agent.metrics import AgentMetrics
from tests.support.builders.collaborator_objects import SITE, failed_state, told
from tests.support.fakes.collaborator_world import KEY, World, a_pod_without_its_job
from tests.support.waiting import running, until


async def at_rest() -> None:
    """Gives every task the turns that it takes, so that only what happens next wakes the agent."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_the_parts_wake_for_the_end_of_a_pod_whose_job_is_gone() -> None:
    world = await a_pod_without_its_job()
    datasets = Reflector(world.api, DATASET, namespace="agent")
    parts = collaborator_parts(
        world.api, SITE, datasets, now=lambda: world.time, metrics=AgentMetrics(CollectorRegistry())
    )

    async with running(datasets.run(), *(each.run() for each in parts.reflectors), parts.controller.run()):
        await until(lambda: world.status.reason == "JobPending")
        await at_rest()
        assert world.raw(COLLABORATOR_JOB) is None
        world.pod_goes()
        await until(lambda: world.raw(COLLABORATOR_JOB) is not None)


async def test_the_parts_wake_for_the_hub_the_site_and_the_pods() -> None:
    world = World(approval="Manual")
    datasets = Reflector(world.api, DATASET, namespace="agent")
    parts = collaborator_parts(
        world.api, SITE, datasets, now=lambda: world.time, metrics=AgentMetrics(CollectorRegistry())
    )

    work = [datasets.run(), *(each.run() for each in parts.reflectors), parts.controller.run()]
    async with running(*work):
        world.ask()
        await until(lambda: world.status.state == "Pending")
        annotations = {APPROVAL_PREFIX + world.status.approval: APPROVED}
        await world.api.merge_patch(DATASET, ObjectKey("agent", "mnist"), {"metadata": {"annotations": annotations}})
        await until(lambda: world.raw(COLLABORATOR_JOB) is not None)
        await until(lambda: world.status.reason == "PodPending")
        await at_rest()
        world.pod_is({"running": {}})
        await until(lambda: world.status.state == "Running")
        await at_rest()
        world.api.remove(COLLABORATOR_NETWORK_POLICY, KEY)
        await until(lambda: world.raw(COLLABORATOR_NETWORK_POLICY) is not None)
        await at_rest()
        world.job_ends("Failed", "BackoffLimitExceeded")
        await until(lambda: world.status.state == "Failed")
        await at_rest()
        world.pod_is(failed_state(told()))
        await until(lambda: world.status.reason == "WorkspaceFailed")
        world.api.remove(DATASET, ObjectKey("agent", "mnist"))
        await until(lambda: any(c.reason == "DatasetNotFound" for c in world.status.conditions))
