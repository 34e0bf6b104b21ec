"""Elect the replica that acts, by a Lease, after client-go (`tools/leaderelection`).

A follower measures the holder's silence by its own monotonic clock, from when it saw the Lease change. It never uses
the times in the Lease, so clock skew between nodes is harmless. The leader gives up when its last renewal, counted from
before that request was sent, is `renew_deadline` old; that is earlier than any follower may take over. When the Lease
is lost, `run` cancels the work and raises LeadershipLost: the process must end, and its replacement starts without
state.

Caveat, as with client-go: a process whose event loop is blocked for longer than the Lease may still finish a request in
flight; every write that matters names the version that it is based on.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Never

import structlog

from federation.api.kubernetes.core import Lease, LeaseSpec
from federation.kube.api import Api
from federation.kube.conditions import rfc3339_micro
from federation.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from federation.kube.kinds import LEASE
from federation.kube.resource import Json, ObjectKey

log = structlog.get_logger(__name__)


class LeadershipLost(Exception):
    """Another replica may act now; this process must stop."""


@dataclass(frozen=True, slots=True)
class LeaseDurations:
    """Durations in seconds of the Lease, of the leader's renewal deadline, and between two attempts.

    Raises:
        ValueError: a leader would give up after a follower may take over, or before its second attempt.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > 2 * self.retry_period > 0:
            raise ValueError(f"lease durations must satisfy duration > renew_deadline > 2 * retry_period > 0: {self}")


@dataclass(frozen=True, slots=True)
class LeaseObservation:
    """The last observed change of a Lease, and its time by this process's monotonic clock."""

    spec: LeaseSpec
    at: float


def observe(before: LeaseObservation | None, spec: LeaseSpec, now: float) -> LeaseObservation:
    """Record the Lease that was read; an unchanged one keeps the time of its first observation."""
    return before if before is not None and before.spec == spec else LeaseObservation(spec, now)


def is_free(observed: LeaseObservation, identity: str, now: float) -> bool:
    """Whether this identity may take the Lease: it is free or its own, or its holder has been silent too long."""
    holder = observed.spec.holder_identity
    return holder in {"", identity} or now >= observed.at + observed.spec.lease_duration_seconds


class Leadership:
    """One replica's participation in the election for one Lease."""

    def __init__(
        self,
        api: Api,
        key: ObjectKey,
        identity: str,
        *,
        durations: LeaseDurations | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Store the settings; `identity` must be unique to this process, as a restarted container has the same pod."""
        self._api = api
        self._key = key
        self._identity = identity
        self._durations = durations or LeaseDurations()
        self._clock = clock
        self._now = now
        self._draw = draw
        self._observed: LeaseObservation | None = None
        self._held: Lease | None = None
        self._renewed_at = float("-inf")

    @property
    def leads(self) -> bool:
        """Whether this replica may act at this moment."""
        return self._clock() < self._renewed_at + self._durations.renew_deadline

    async def run(self, act: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then call `act`, and release the Lease when `act` ends or is cancelled.

        Raises:
            LeadershipLost: the Lease was lost; `act` has been cancelled and has ended.
        """
        await self._acquire()
        log.info("leadership_acquired", lease=str(self._key), identity=self._identity)
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._renew(), name="lease")
                await act()
                renewing.cancel()
        except BaseExceptionGroup as group:
            if group.split(LeadershipLost)[0] is None:
                raise
            log.warning("leadership_lost", lease=str(self._key), identity=self._identity)
            raise LeadershipLost(f"{self._key} is no longer held by {self._identity}") from group
        finally:
            if self._held is not None:
                await self._release()

    async def _acquire(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._durations.renew_deadline):
                    if await self._try():
                        return
            except (TimeoutError, KubeError) as error:
                log.warning("lease_not_acquired", lease=str(self._key), error=str(error))
            await asyncio.sleep(self._durations.retry_period * (1 + 0.2 * self._draw()))

    async def _renew(self) -> Never:
        while True:
            await asyncio.sleep(self._durations.retry_period)
            left = self._renewed_at + self._durations.renew_deadline - self._clock()
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    if not await self._try():
                        self._renewed_at = float("-inf")
                        raise LeadershipLost(f"{self._key} is held by another")
            except (TimeoutError, KubeError) as error:
                if not self.leads:
                    raise LeadershipLost(f"{self._key} could not be renewed in time") from error
                log.warning("lease_not_renewed", lease=str(self._key), error=str(error))

    async def _try(self) -> bool:
        """Try once to take or renew the Lease; return whether this process holds it."""
        asked_at = self._clock()
        try:
            self._held = await self._write(self._held)
        except (Conflict, NotFound, AlreadyExists):
            # Another replica changed or deleted the Lease; re-read it to find the holder.
            self._held = None
            self._held = await self._write(None)
        if self._held is not None:
            self._renewed_at = asked_at
        return self._held is not None

    async def _write(self, held: Lease | None) -> Lease | None:
        if held is None:
            return await self._take_if_free()
        return await self._api.merge_patch(
            LEASE,
            self._key,
            {
                "metadata": {"resourceVersion": held.metadata.resource_version},
                "spec": {"renewTime": self._time()},
            },
        )

    async def _take_if_free(self) -> Lease | None:
        try:
            lease = await self._api.read(LEASE, self._key)
        except NotFound:
            metadata = {"name": self._key.name, "namespace": self._key.namespace}
            body: Json = {"metadata": metadata, "spec": self._claim(0)}
            return await self._api.create(LEASE, body, namespace=self._key.namespace)
        self._observed = observe(self._observed, lease.spec, self._clock())
        if not is_free(self._observed, self._identity, self._clock()):
            return None
        ours = lease.spec.holder_identity == self._identity
        patch = {
            "metadata": {"resourceVersion": lease.metadata.resource_version},
            "spec": {"renewTime": self._time()} if ours else self._claim(lease.spec.lease_transitions + 1),
        }
        return await self._api.merge_patch(LEASE, self._key, patch)

    def _claim(self, transitions: int) -> Json:
        time_ = self._time()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._durations.duration)),
            "acquireTime": time_,
            "renewTime": time_,
            "leaseTransitions": transitions,
        }

    def _time(self) -> str:
        return rfc3339_micro(self._now())

    async def _release(self) -> None:
        """Release the Lease, so that a follower need not wait for its expiry."""
        held, self._held = self._held, None
        if held is None:
            return
        patch = {
            "metadata": {"resourceVersion": held.metadata.resource_version},
            "spec": {"holderIdentity": None, "leaseDurationSeconds": 1, "renewTime": self._time()},
        }
        try:
            async with asyncio.timeout(self._durations.retry_period):
                await self._api.merge_patch(LEASE, self._key, patch)
        except (TimeoutError, KubeError) as error:
            log.warning("lease_not_released", lease=str(self._key), error=str(error))
        else:
            log.info("lease_released", lease=str(self._key))
