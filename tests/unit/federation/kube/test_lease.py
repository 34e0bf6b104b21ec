"""A replica may take a Lease by the time of its last observed change, never by the times written in it."""

from typing import Any

import pytest

from federation.api.kubernetes.core import LeaseSpec
from federation.kube.lease import Leadership, LeaseDurations, LeaseObservation, is_free, observe
from federation.kube.resource import ObjectKey
from tests.support.fakes.fake_api import FakeApi

HELD = LeaseSpec(holder_identity="other", lease_duration_seconds=15, renew_time="1970-01-01T00:00:00.000000Z")


@pytest.mark.parametrize(
    ("spec", "now", "expected"),
    [
        pytest.param(HELD, 114.9, False, id="seen-to-change-recently-however-old-it-says-it-is"),
        pytest.param(HELD, 115.0, True, id="silent-for-its-duration"),
        pytest.param(LeaseSpec(holder_identity="me", lease_duration_seconds=15), 100.0, True, id="mine"),
        pytest.param(LeaseSpec(lease_duration_seconds=1), 100.0, True, id="released"),
    ],
)
def test_is_free(spec: LeaseSpec, now: float, expected: bool) -> None:
    assert is_free(LeaseObservation(spec, at=100.0), "me", now) is expected


def test_the_same_record_keeps_the_time_of_its_first_sight() -> None:
    first = observe(None, HELD, 100.0)
    assert observe(first, HELD, 110.0).at == 100.0


def test_a_renewed_lease_is_observed_again() -> None:
    first = observe(None, HELD, 100.0)
    renewed = LeaseSpec(holder_identity="other", lease_duration_seconds=15, renew_time="2099-01-01T00:00:00.000000Z")
    assert observe(first, renewed, 110.0).at == 110.0


@pytest.mark.parametrize(("duration", "deadline", "retry"), [(10, 10, 2), (15, 4, 2), (15, 10, 0)])
def test_rejects_durations_by_which_two_replicas_could_act_at_once(
    duration: float, deadline: float, retry: float
) -> None:
    with pytest.raises(ValueError, match="renew_deadline"):
        LeaseDurations(duration, deadline, retry)


@pytest.mark.parametrize(("seconds", "leads"), [(9.0, True), (11.0, False)])
async def test_a_renewal_counts_from_before_it_was_sent(seconds: float, leads: bool) -> None:
    clock = 100.0

    class SlowApi(FakeApi):
        async def create(self, *args: Any, **options: Any) -> Any:
            nonlocal clock
            made = await super().create(*args, **options)
            clock += seconds
            return made

    leadership = Leadership(SlowApi(), ObjectKey("ns", "leader"), "me", clock=lambda: clock)

    async def act() -> None:
        assert leadership.leads is leads

    await leadership.run(act)
