"""The controllers at work: what changes makes the right request due, without anybody looking."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from federation.kube.kinds import (
    CLUSTER_MANAGEMENT_ADD_ON,
    CONFIG_MAP,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANIFEST_WORK,
)
from federation.kube.reflector import Reflector
from hub_manager.certificates.controllers import CertificateInputs, certificate_parts
from hub_manager.certificates.decision_recorder import certificate_metrics
from tests.support.builders.certificates import Hub
from tests.support.waiting import running, until


@asynccontextmanager
async def at_work(hub: Hub, *rollout_sources: Reflector[Any]) -> AsyncIterator[asyncio.TaskGroup]:
    """The certificates' part and what it watches; of the carriers, none runs yet."""
    api, settings = hub.api, hub.settings
    around = CertificateInputs(
        clusters=Reflector(api, MANAGED_CLUSTER),
        addons=Reflector(api, MANAGED_CLUSTER_ADD_ON),
        cluster_management_addons=Reflector(api, CLUSTER_MANAGEMENT_ADD_ON),
        config_maps=Reflector(api, CONFIG_MAP, namespace=settings.namespace),
        rollout_sources=rollout_sources,
        is_rolled_out=lambda _: False,
    )
    made = certificate_parts(api, around, settings, certificate_metrics(CollectorRegistry()), clock=hub.clock)
    watched = (around.clusters, around.addons, around.cluster_management_addons, around.config_maps)
    async with running(*(part.run() for part in (*watched, *made.parts))) as tasks:
        yield tasks


async def test_a_request_that_was_there_before_us_is_served() -> None:
    hub = Hub()
    hub.enable()
    name = await hub.request()

    async with at_work(hub):
        await until(lambda: bool(hub.certificate(name)))


async def test_signs_a_waiting_request_once_the_authority_is_known() -> None:
    """A manager that has just started may reconcile requests before it has read the authority."""
    hub = Hub()
    hub.enable()
    async with at_work(hub):
        await until(lambda: bool(hub.bundle()))
    name = await hub.request()
    late = Reflector(hub.api, MANIFEST_WORK)

    async with at_work(hub, late) as tasks:
        await until(lambda: bool(hub.conditions(name)))
        assert not hub.certificate(name)
        following = tasks.create_task(late.run())
        await until(lambda: bool(hub.certificate(name)))
        following.cancel()


async def test_each_missing_fact_makes_the_request_due_when_it_comes() -> None:
    hub = Hub()
    name = await hub.request()

    async with at_work(hub):
        await until(lambda: bool(hub.bundle()))
        hub.enable(accepted=False)
        await until(lambda: hub.counted_events(name) == {"ClusterUnknown", "ClusterNotAccepted"})
        hub.enable()
        await until(lambda: bool(hub.certificate(name)))


async def test_a_changed_bundle_is_put_right() -> None:
    hub = Hub()

    async with at_work(hub):
        await until(lambda: bool(hub.bundle()))
        bundle = hub.bundle()
        raw = hub.api.objects(CONFIG_MAP)[0]
        hub.api.seed(CONFIG_MAP, raw | {"data": {"ca.crt": "mine"}})
        await until(lambda: hub.bundle() == bundle)
