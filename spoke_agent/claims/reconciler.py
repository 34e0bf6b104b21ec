"""Perform the site's plan: its ClusterClaims and the statuses of its Datasets.

One key stands for the whole site, because Datasets share claims. The reconciler reads from the reflectors' stores. Each
write names the resourceVersion or the uid that it was planned for: if the object has changed since, the write fails
and the next pass plans from the newer state.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, assert_never

import structlog

from federation.api.dataset import Dataset
from federation.api.kubernetes.capacity import Node
from federation.api.ocm.claims import ClusterClaim
from federation.kube.actions import ActionExecutor, Apply, Create, Delete, Patch
from federation.kube.api import Api
from federation.kube.errors import AlreadyExists, Denied, KubeError, NotFound
from federation.kube.resource import Json, ObjectKey
from spoke_agent.claims.planning.plan import ObservedSite, SiteAction, SitePlan, plan_site
from spoke_agent.metrics import AgentMetrics

FIELD_MANAGER: Final = "federated-learning-agent"
SITE: Final = ObjectKey("", "site")
"""The one key of the site's controllers."""
_STALE_RETRY: Final = 2.0
"""Seconds until the next pass if the API server had a newer state than the stores."""
RIGHTS_PENDING: Final = 15.0
"""Seconds until a denied write is retried: permissions are granted at some time, and no watch reports it."""

_CLAIM_VERBS: Final = {Create: "creation", Patch: "change", Delete: "removal"}
"""Label values of the metric `claim_writes`."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SiteView:
    """Reads of the newest objects that the reflectors have received."""

    datasets: Callable[[], Iterable[Dataset]]
    claims: Callable[[], Iterable[ClusterClaim]]
    nodes: Callable[[], Iterable[Node]]


class ClaimReconciler:
    """Controller that keeps ClusterClaims and Dataset statuses as planned."""

    def __init__(
        self,
        api: Api,
        view: SiteView,
        *,
        owner: Callable[[], Awaitable[Json | None]],
        now: Callable[[], datetime],
        metrics: AgentMetrics,
    ) -> None:
        self._executor = ActionExecutor(api, FIELD_MANAGER)
        self._view = view
        self._owner = owner
        self._now = now
        self._metrics = metrics
        self._plan: SitePlan | None = None
        self.applied = False
        """Whether the latest pass performed all of its writes; false until the first pass ends."""

    async def reconcile(self, _key: ObjectKey) -> float | None:
        """Perform the site's plan and return the seconds until the next pass; None if none is due.

        Raises:
            KubeError: A write failed for another reason than missing permissions; the next pass continues from the
                writes that succeeded.
        """
        try:
            plan = await self._plan_pass()
            fresh = [await self._perform(action) for action in plan.reconcile.actions]
        except Denied:
            self.applied = False
            _log.warning("claims_denied", exc_info=True)
            return RIGHTS_PENDING
        except KubeError:
            self.applied = False
            raise
        if not all(fresh):
            return _STALE_RETRY
        self.applied = True
        return plan.reconcile.requeue_after

    async def _plan_pass(self) -> SitePlan:
        observed, now = self._observe(), self._now()
        plan = plan_site(observed, now)
        self._report(plan)
        self._plan = plan
        if plan.needs_owner:
            # Read for creations alone: a read in each pass would cost a request for every event of a node.
            plan = plan_site(replace(observed, owner=await self._owner()), now)
        return plan

    def _observe(self) -> ObservedSite:
        return ObservedSite(
            datasets=tuple(self._view.datasets()),
            claims=tuple(self._view.claims()),
            nodes=tuple(self._view.nodes()),
            waiting={} if self._plan is None else self._plan.waiting,
        )

    async def _perform(self, action: SiteAction) -> bool:
        """Perform one action; return False if a claim is newer than the observed one, so that another pass is due."""
        try:
            await self._executor.perform(action, _log)
        except (AlreadyExists, NotFound):
            # A Dataset that was deleted meanwhile needs no status.
            return isinstance(action, Apply)
        match action:
            case Apply(key=key, body=body):
                condition = body["status"]["conditions"][0]
                _log.info("dataset_judged", dataset=key.name, published=condition["status"], reason=condition["reason"])
            case Create() | Patch() | Delete():
                verb = _CLAIM_VERBS[type(action)]
                self._metrics.claim_writes.labels(verb).inc()
                _log.info("claim_written", claim=action.key.name, action=verb)
            case _:
                assert_never(action)
        return True

    def _report(self, plan: SitePlan) -> None:
        self._metrics.datasets.labels("true").set(plan.published)
        self._metrics.datasets.labels("false").set(plan.unpublished)
        self._metrics.foreign_claims.set(len(plan.foreign))
        if plan.foreign != (() if self._plan is None else self._plan.foreign):
            _log.warning("claims_belong_to_another", claims=plan.foreign)
