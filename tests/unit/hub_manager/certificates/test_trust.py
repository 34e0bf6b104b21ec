"""The slots' Secret and the trust bundle on an API server: first start, roll-over, an administrator's authority."""

import asyncio
from datetime import timedelta

import pytest

from federation.api.identity import TRUST_BUNDLE
from federation.kube.errors import Conflict
from federation.kube.kinds import CONFIG_MAP, EVENT, SECRET
from federation.kube.resource import ObjectKey
from federation.pki.certificate import certificate_pem, private_key_pem
from federation.pki.chain import Purpose, parse_bundle, verify_leaf
from hub_manager.certificates.settings import SLOTS_SECRET
from tests.support.builders.authorities import authority
from tests.support.builders.certificates import Hub
from tests.support.fakes.fake_api import Crash

DAY = timedelta(days=1)
MINE = authority(1 << 101, key="p384")
NEWER = authority(1 << 102, key="rsa2048")


def told(hub: Hub) -> list[tuple[str, str, str]]:
    return [
        (raw["involvedObject"]["name"], raw["reason"], raw["message"].split(":")[0]) for raw in hub.api.objects(EVENT)
    ]


def without_secret_texts(hub: Hub) -> bool:
    return "PRIVATE" not in str(hub.api.objects(EVENT) + hub.api.objects(CONFIG_MAP))


async def test_the_first_start_makes_one_authority_and_publishes_it() -> None:
    hub = Hub()

    await hub.settle()

    slots = hub.slots()
    assert slots is not None
    assert parse_bundle(hub.bundle()) == (slots.current.certificate,)
    assert without_secret_texts(hub)
    end = slots.current.certificate.not_valid_after_utc.timestamp()
    expiry = "federated_learning_hub_authority_expiry_timestamp_seconds"
    assert hub.registry.get_sample_value(expiry, {"slot": "current"}) == end


async def test_two_managers_that_start_at_once_end_with_one_authority() -> None:
    hub = Hub()
    first = hub.trust
    hub.restart()
    second = hub.trust

    results = await asyncio.gather(*(t.reconcile(t.key) for t in (first, second)), return_exceptions=True)

    assert [type(r) for r in results if isinstance(r, Exception)] == [Conflict]
    await first.reconcile(first.key)
    await second.reconcile(second.key)
    assert first.bundle() == second.bundle() == hub.bundle()
    assert len(hub.api.objects(SECRET)) == 1


async def test_a_manager_with_an_old_view_cannot_write_over_a_newer_one() -> None:
    hub = Hub()
    await hub.settle()
    hub.clock.forward(timedelta(days=335))
    first = hub.trust
    hub.restart()
    second = hub.trust

    results = await asyncio.gather(*(t.reconcile(t.key) for t in (first, second)), return_exceptions=True)

    assert [type(r) for r in results if isinstance(r, Exception)] == [Conflict]
    slots = hub.slots()
    assert slots is not None
    assert slots.next is not None


async def test_a_roll_over_keeps_every_certificate_valid_throughout() -> None:
    hub = Hub()
    hub.enable()
    await hub.settle()
    hub.clock.forward(274 * DAY)
    leaves, anchors = [], set()
    for number in range(24):
        name = await hub.request(name=f"addon-c1-federated-learning-{number:02}")
        await hub.settle()
        leaves.append(parse_bundle(hub.certificate(name))[0])
        hub.clock.forward(timedelta(hours=12))
        await hub.settle()
        for leaf in leaves[-2:]:
            assert leaf.not_valid_after_utc >= hub.clock.now
            anchors.add(verify_leaf(leaf, parse_bundle(hub.bundle()), purpose=Purpose.CLIENT, now=hub.clock.now))

    assert len(anchors) == 2
    slots = hub.slots()
    assert slots is not None
    assert slots.retired == ()


@pytest.mark.parametrize("writes", range(1, 5))
async def test_a_manager_killed_during_a_roll_over_loses_no_authority(writes: int) -> None:
    hub = Hub()
    hub.enable()
    await hub.settle()
    old = hub.slots()
    assert old is not None
    hub.bring(MINE)
    hub.restart()
    hub.api.crash_after(writes)
    for span in (timedelta(0), timedelta(days=7)):
        hub.clock.forward(span)
        try:
            await hub.settle()
        except Crash:
            hub.restart()
            await hub.settle()

    slots = hub.slots()
    assert slots is not None
    assert slots.current.certificate == MINE.certificate
    assert set(parse_bundle(hub.bundle())) == {MINE.certificate, old.current.certificate}


async def test_an_administrators_authority_is_adopted_on_the_first_start() -> None:
    hub = Hub()
    hub.bring(MINE)
    hub.restart()

    await hub.settle()

    assert parse_bundle(hub.bundle()) == (MINE.certificate,)


async def test_an_administrators_new_authority_is_announced_first_and_the_old_one_stays_for_its_certificates() -> None:
    hub = Hub()
    hub.enable()
    hub.bring(MINE)
    hub.restart()
    await hub.settle()
    hub.bring(NEWER)
    name = await hub.request()
    await hub.settle()
    announced = set(parse_bundle(hub.bundle()))
    leaf = parse_bundle(hub.certificate(name))[0]

    hub.rolled_out = True
    hub.clock.forward(timedelta(minutes=10))
    await hub.settle()

    slots = hub.slots()
    assert announced == {MINE.certificate, NEWER.certificate}
    assert slots is not None
    assert slots.current.certificate == NEWER.certificate
    bundle = parse_bundle(hub.bundle())
    assert verify_leaf(leaf, bundle, purpose=Purpose.CLIENT, now=hub.clock.now) == MINE.certificate
    hub.clock.forward(2 * DAY)
    await hub.settle()
    assert parse_bundle(hub.bundle()) == (NEWER.certificate,)


async def test_an_unusable_secret_is_named_with_its_key_and_no_authority_is_made_instead() -> None:
    hub = Hub()
    hub.bring_text(tls_crt=certificate_pem(MINE.certificate), tls_key=private_key_pem(NEWER.key))
    hub.restart()

    await hub.settle()

    assert hub.slots() is None
    assert hub.bundle() == ""
    assert told(hub) == [("administrators-ca", "AuthorityRefused", "key tls.key")]
    hub.bring(MINE)
    await hub.settle()
    assert parse_bundle(hub.bundle()) == (MINE.certificate,)


async def test_an_administrators_mistake_leaves_the_present_authority_at_work() -> None:
    hub = Hub()
    hub.enable()
    hub.bring(MINE)
    hub.restart()
    await hub.settle()
    hub.bring_text(tls_crt="oops", tls_key=private_key_pem(MINE.key))
    name = await hub.request()

    await hub.settle()

    assert told(hub) == [("administrators-ca", "AuthorityRefused", "key tls.crt")]
    leaf = parse_bundle(hub.certificate(name))[0]
    assert verify_leaf(leaf, [MINE.certificate], purpose=Purpose.CLIENT, now=hub.clock.now)


async def test_damaged_slots_stop_the_signing_and_are_left_as_they_are() -> None:
    hub = Hub()
    hub.enable()
    await hub.settle()
    raw = hub.api.objects(SECRET)[0]
    hub.api.seed(SECRET, raw | {"data": raw["data"] | {"current.key": "ZGFtYWdlZA=="}})
    name = await hub.request()

    await hub.settle()

    assert hub.certificate(name) == ""
    assert told(hub) == [(SLOTS_SECRET, "SlotsUnreadable", "key current.key")]
    assert hub.api.objects(SECRET)[0]["data"]["current.key"] == "ZGFtYWdlZA=="


async def test_a_deleted_bundle_comes_back() -> None:
    hub = Hub()
    await hub.settle()
    before = hub.bundle()
    hub.api.remove(CONFIG_MAP, ObjectKey(hub.settings.namespace, TRUST_BUNDLE))

    await hub.settle()

    assert hub.bundle() == before != ""
