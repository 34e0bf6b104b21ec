"""Write the run's status: always the newest state, as soon as the API server accepts it.

States that arrive during a write replace each other. An unreachable API server delays no round. Before the process
ends, it waits a limited time for the last state to be written.
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
"""Seconds between two writes, so that short rounds and simultaneous joins are written together."""

_log = structlog.stdlib.get_logger(__name__)


async def report_unusable(api: Api, run: AggregatorRun, reason: str, message: str) -> None:
    """Set `status.failure` of a run that can't start, which the hub manager reads. Raises KubeError."""
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
        self._inputs = ReportInputs(location=run.location, seen={}, contributions={})
        self._newest: State | None = None
        self._news = asyncio.Event()
        self._current = asyncio.Event()
        self._paced: tuple[int, datetime] | None = None

    def report(self, state: State) -> None:
        """Set the newest state, to be written by `run`; return at once."""
        now = self._clock()
        seen = dict(self._inputs.seen or {}) | dict.fromkeys(state.connected, now)
        counted = {peer: (state.round, part.weight) for peer, part in state.parts.items()}
        contributions = dict(self._inputs.contributions or {}) | counted
        metrics = metrics_of(state, self._inputs.metrics)
        self._inputs = replace(self._inputs, seen=seen, contributions=contributions, metrics=metrics)
        self._measure(state, now)
        self._newest = state
        self._current.clear()
        self._news.set()

    async def run(self, pause: float = PAUSE) -> None:
        """Write the newest state until cancelled."""
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
        """Wait up to `timeout` seconds for the newest state to be written, and return whether it was."""
        try:
            async with asyncio.timeout(timeout):
                await self._current.wait()
        except TimeoutError:
            return False
        return True

    def _measure(self, state: State, now: datetime) -> None:
        """Measure the mean duration of the rounds since this process started; earlier times are unknown."""
        if self._paced is None or state.model_round < self._paced[0]:
            self._paced = (state.model_round, now)
        done = state.model_round - self._paced[0]
        if done > 0:
            self._inputs = replace(self._inputs, pace=(now - self._paced[1]) / done)

    async def _write(self, state: State) -> None:
        await _apply(self._api, self._run, status_of(state, self._inputs, self._clock()))
