"""Tells the hub what is free: the shell around `scores`.

The hub manager makes the object, because RBAC can't limit `create` to a name; the agent may write that one's status and
nothing else, so it neither reads nor watches. Until object and rights are there, it tries again in a while.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from federation.api.kubernetes.capacity import Node, Pod
from federation.api.ocm.claims import SCORE_OBJECT
from federation.kube.api import Api
from federation.kube.conditions import rfc3339
from federation.kube.errors import Denied, NotFound
from federation.kube.kinds import ADD_ON_PLACEMENT_SCORE
from federation.kube.resource import Json, ObjectKey
from spoke_agent.claims.reconciler import FIELD_MANAGER, RIGHTS_PENDING
from spoke_agent.claims.resources import free_resources
from spoke_agent.claims.scores import VALIDITY, Written, due_in, scores_of
from spoke_agent.metrics import AgentMetrics

_LOOK_INTERVAL: Final = timedelta(seconds=5)
"""Every pod's event asks for a look; summing up all pods for each would cost more than the answer is worth."""

_log = structlog.stdlib.get_logger(__name__)


class ScoreWriter:
    """Keeps the cluster's AddOnPlacementScore on the hub fresh."""

    def __init__(
        self,
        hub: Api,
        cluster: str,
        *,
        nodes: Callable[[], Iterable[Node]],
        pods: Callable[[], Iterable[Pod]],
        now: Callable[[], datetime],
        metrics: AgentMetrics,
    ) -> None:
        self._hub = hub
        self._key = ObjectKey(cluster, SCORE_OBJECT)
        self._nodes = nodes
        self._pods = pods
        self._now = now
        self._metrics = metrics
        self._looked: datetime | None = None
        self._written: Written | None = None

    async def reconcile(self, _key: ObjectKey) -> float | None:
        """Writes the scores if they are worth it; returns the seconds until they may be.

        Raises:
            KubeError: The hub didn't take them, for another reason than that the hub manager hasn't made way for them.
        """
        now = self._now()
        if self._looked is not None and now < self._looked + _LOOK_INTERVAL:
            return (self._looked + _LOOK_INTERVAL - now).total_seconds()
        self._looked = now
        scores = scores_of(free_resources(self._nodes(), self._pods()))
        if due_in(scores, self._written, now) <= timedelta(0):
            # A failure from here on leaves nothing to wait for: the next try, after its back-off, has to look at once.
            self._looked = None
            try:
                await self._write(scores, now)
            except (Denied, NotFound) as error:
                _log.warning("scores_not_yet_possible", error=str(error))
                return RIGHTS_PENDING
            self._looked = now
            self._written = Written(scores, now)
        return max(0.0, due_in(scores, self._written, now).total_seconds())

    async def _write(self, scores: Mapping[str, int], now: datetime) -> None:
        until = now + VALIDITY
        body: Json = {
            "apiVersion": ADD_ON_PLACEMENT_SCORE.api_version,
            "kind": ADD_ON_PLACEMENT_SCORE.kind,
            "metadata": {"name": self._key.name, "namespace": self._key.namespace},
            "status": {
                "scores": [{"name": name, "value": value} for name, value in sorted(scores.items())],
                "validUntil": rfc3339(until),
            },
        }
        await self._hub.apply(
            ADD_ON_PLACEMENT_SCORE, self._key, body, field_manager=FIELD_MANAGER, subresource="status"
        )
        self._metrics.score_writes.inc()
        self._metrics.scores_valid_until.set(until.timestamp())
        _log.info("scores_written", **scores)
