"""Write the cluster's AddOnPlacementScore on the hub from its free resources.

The hub manager creates the object, because RBAC cannot limit `create` to a name. The agent may write that object's
status and nothing else, so it neither reads nor watches; it retries until the object and the permissions exist.
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
from spoke_agent.claims.planning.resources import free_resources
from spoke_agent.claims.planning.scores import VALIDITY, Written, due_in, scores_of
from spoke_agent.claims.reconciler import FIELD_MANAGER, RIGHTS_PENDING
from spoke_agent.metrics import AgentMetrics

_EVALUATION_INTERVAL: Final = timedelta(seconds=5)
"""Every event of a pod enqueues the site; the interval limits how often all pods are summed up."""

_log = structlog.stdlib.get_logger(__name__)


class ScoreWriter:
    """Controller that keeps the cluster's AddOnPlacementScore current."""

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
        self._evaluated: datetime | None = None
        self._written: Written | None = None

    async def reconcile(self, _key: ObjectKey) -> float | None:
        """Write the scores if they are due, and return the seconds until the next evaluation.

        Raises:
            KubeError: The write failed, for another reason than a missing object or missing permissions.
        """
        now = self._now()
        if self._evaluated is not None and now < self._evaluated + _EVALUATION_INTERVAL:
            return (self._evaluated + _EVALUATION_INTERVAL - now).total_seconds()
        self._evaluated = now
        scores = scores_of(free_resources(self._nodes(), self._pods()))
        if due_in(scores, self._written, now) <= timedelta(0):
            # After a failure, the retry must evaluate at once, without the interval.
            self._evaluated = None
            try:
                await self._write(scores, now)
            except (Denied, NotFound) as error:
                _log.warning("scores_not_yet_possible", error=str(error))
                return RIGHTS_PENDING
            self._evaluated = now
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
