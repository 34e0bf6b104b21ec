"""The run's resource is told of its rounds: the newest state, as soon as it can be written, and no older one.

States that come while one is being written replace each other. An API server that can't be reached holds up no round;
the last state of a run is written before the process ends, or not at all after a bounded time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec
import structlog

from federation.api.aggregator_run import AggregatorRun
from federation.api.run_status import RunFailure
from federation.backoff import Backoff
from federation.kube.api import Api
from federation.kube.errors import KubeError
from federation.kube.kinds import FEDERATED_LEARNING
from federation.kube.resource import Json, ObjectKey
from hub_manager.aggregator.reporting.run_status import ReportInputs, metrics_of, status_of
from hub_manager.aggregator.rounds.state import State

FIELD_MANAGER: Final = "federated-learning-aggregator"
PAUSE: Final = 1.0
"""Seconds between two writes: joining sites and quick rounds make one."""

_log = structlog.stdlib.get_logger(__name__)


async def report_unusable(api: Api, run: AggregatorRun, reason: str, message: str) -> None:
    """Says of a run that it can't even begin, in the place where the hub manager looks for it. Raises KubeError."""
    failure = msgspec.to_builtins(RunFailure(reason=reason, message=message))
    await _apply(api, run, {"failure": failure})


async def _apply(api: Api, run: AggregatorRun, status: Json) -> None:
    key = ObjectKey(run.namespace, run.name)
    body = {
        "apiVersion": FEDERATED_LEARNING.api_version,
        "kind": FEDERATED_LEARNING.kind,
        # The uid keeps the report of an older run off a new one of the same name.
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": run.uid},
        "status": status,
    }
    await api.apply(FEDERATED_LEARNING, key, body, field_manager=FIELD_MANAGER, subresource="status")


class Reporter:
    """Writes the run's status."""

    def __init__(
        self, api: Api, run: AggregatorRun, *, clock: Callable[[], datetime], backoff: Backoff | None = None
    ) -> None:
        """Nothing is written before `run`."""
        self._api = api
        self._run = run
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._told = ReportInputs(location=run.location, seen={}, contributions={})
        self._newest: State | None = None
        self._news = asyncio.Event()
        self._current = asyncio.Event()
        self._paced: tuple[int, datetime] | None = None

    def report(self, state: State) -> None:
        """Takes the state; returns at once."""
        now = self._clock()
        seen = dict(self._told.seen or {}) | dict.fromkeys(state.connected, now)
        counted = {peer: (state.round, part.weight) for peer, part in state.parts.items()}
        contributions = dict(self._told.contributions or {}) | counted
        metrics = metrics_of(state, self._told.metrics)
        self._told = replace(self._told, seen=seen, contributions=contributions, metrics=metrics)
        self._measure(state, now)
        self._newest = state
        self._current.clear()
        self._news.set()

    async def run(self, pause: float = PAUSE) -> None:
        """Writes until cancelled."""
        failures = 0
        while True:
            await self._news.wait()
            self._news.clear()
            state = self._newest
            if state is None:
                continue
            try:
                await self._write(state)
            except KubeError as error:
                failures += 1
                _log.warning("status_not_written", error=str(error), failures=failures)
                self._news.set()
                await asyncio.sleep(self._backoff.delay(failures))
                continue
            failures = 0
            if state is self._newest:
                self._current.set()
            await asyncio.sleep(0 if state.ended is not None else pause)

    async def written(self, timeout: float) -> bool:
        """Whether everything reported so far is written, waiting for it at most that many seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._current.wait()
        except TimeoutError:
            return False
        return True

    def _measure(self, state: State, now: datetime) -> None:
        """The pace is that of the rounds since this process saw its first: what came before it is not known."""
        if self._paced is None or state.model_round < self._paced[0]:
            self._paced = (state.model_round, now)
        done = state.model_round - self._paced[0]
        if done > 0:
            self._told = replace(self._told, pace=(now - self._paced[1]) / done)

    async def _write(self, state: State) -> None:
        await _apply(self._api, self._run, status_of(state, self._told, self._clock()))
