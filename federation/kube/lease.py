"""Which of several replicas acts: leader election by a Lease, after client-go (`tools/leaderelection`).

A follower measures how long the holder has been silent by its own monotonic clock from when it saw the Lease change,
never by the times written in it, so clocks that differ between nodes do no harm. The leader gives up when its last
renewal, counted from before that request was sent, is `renew_deadline` old; that is earlier than any follower may take
over. Losing the Lease raises LeadershipLost through `run`, which has then already cancelled what acted: the process is
to end, and its replacement to start from nothing.

Caveat, as with client-go: a process whose event loop stands still longer than the lease may finish the request it was
in the middle of; every write that matters names the version that it is based on.
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
    """Another replica may act now; this process must not."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: how long followers wait for a silent leader, when a leader gives up, how often both look.

    Raises:
        ValueError: a leader would give up later than a follower may take over, or before its second try.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > 2 * self.retry_period > 0:
            raise ValueError(f"a lease's terms need duration > renew_deadline > 2 * retry_period > 0: {self}")


@dataclass(frozen=True, slots=True)
class LeaseObservation:
    """A Lease as it was last seen to change, and when, by this process's monotonic clock."""

    spec: LeaseSpec
    at: float


def observe(before: LeaseObservation | None, spec: LeaseSpec, now: float) -> LeaseObservation:
    """What is known once the Lease has been read: the same record keeps the time of its first sight."""
    return before if before is not None and before.spec == spec else LeaseObservation(spec, now)


def free(observed: LeaseObservation, identity: str, now: float) -> bool:
    """Whether this identity may take the Lease: it is nobody's, its own, or its holder has been silent too long."""
    holder = observed.spec.holder_identity
    return holder in {"", identity} or now >= observed.at + observed.spec.lease_duration_seconds


class Leadership:
    """One replica's part in the election for one Lease."""

    def __init__(
        self,
        api: Api,
        key: ObjectKey,
        identity: str,
        *,
        terms: Terms | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Prepares to stand; `identity` must be unique to this process, not to its pod: a restart is another life."""
        self._api = api
        self._key = key
        self._identity = identity
        self._terms = terms or Terms()
        self._clock = clock
        self._now = now
        self._draw = draw
        self._observed: LeaseObservation | None = None
        self._held: Lease | None = None
        self._renewed_at = float("-inf")

    @property
    def leads(self) -> bool:
        """Whether this replica may act at this very moment."""
        return self._clock() < self._renewed_at + self._terms.renew_deadline

    async def run(self, act: Callable[[], Awaitable[None]]) -> None:
        """Waits to lead, then acts for as long as it leads, and hands the Lease on when `act` ends or is cancelled.

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
                async with asyncio.timeout(self._terms.renew_deadline):
                    if await self._try():
                        return
            except (TimeoutError, KubeError) as error:
                log.warning("lease_not_acquired", lease=str(self._key), error=str(error))
            await asyncio.sleep(self._terms.retry_period * (1 + 0.2 * self._draw()))

    async def _renew(self) -> Never:
        while True:
            await asyncio.sleep(self._terms.retry_period)
            left = self._renewed_at + self._terms.renew_deadline - self._clock()
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
        """One attempt to take or renew the Lease; whether it is ours now."""
        asked_at = self._clock()
        try:
            self._held = await self._write(self._held)
        except (Conflict, NotFound, AlreadyExists):
            # Somebody wrote it, or removed it. Whose it is now is for the Lease to say.
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
        if not free(self._observed, self._identity, self._clock()):
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
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
            "acquireTime": time_,
            "renewTime": time_,
            "leaseTransitions": transitions,
        }

    def _time(self) -> str:
        return rfc3339_micro(self._now())

    async def _release(self) -> None:
        """Hands the Lease on, so that nobody has to wait for its end; it ends by itself when this fails."""
        held, self._held = self._held, None
        if held is None:
            return
        patch = {
            "metadata": {"resourceVersion": held.metadata.resource_version},
            "spec": {"holderIdentity": None, "leaseDurationSeconds": 1, "renewTime": self._time()},
        }
        try:
            async with asyncio.timeout(self._terms.retry_period):
                await self._api.merge_patch(LEASE, self._key, patch)
        except (TimeoutError, KubeError) as error:
            log.warning("lease_not_released", lease=str(self._key), error=str(error))
        else:
            log.info("lease_released", lease=str(self._key))
