"""Makes the site's ClusterClaims and Datasets' statuses what `plan` says: the shell around it.

One key stands for the whole site, because claims are shared between datasets. Reads come from what the reflectors have
seen, writes go through the Api, each guarded by the version or uid it was planned for: whatever happened in between
fails that write and brings the next look.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import structlog

from federation.api.dataset import Dataset
from federation.api.kubernetes.capacity import Node
from federation.api.ocm.claims import ClusterClaim
from federation.kube.api import Api
from federation.kube.errors import AlreadyExists, Denied, KubeError, NotFound
from federation.kube.kinds import CLUSTER_CLAIM, DATASET
from federation.kube.resource import Json, ObjectKey
from spoke_agent.claims.claims import MANAGED_BY, MANAGED_BY_LABEL, Change, ClaimWrite, Creation, Removal
from spoke_agent.claims.plan import Observed, SitePlan, StatusWrite, plan_site
from spoke_agent.metrics import AgentMetrics

FIELD_MANAGER: Final = "federated-learning-agent"
SITE: Final = ObjectKey("", "site")
"""The one key of the site's controllers."""
_LOOK_AGAIN: Final = 2.0
"""Seconds after which to look again when the cluster turned out newer than what the reflectors had shown."""
RIGHTS_PENDING: Final = 15.0
"""Seconds after which to try again what was denied: rights arrive on their own, and no watch tells of them."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SiteView:
    """Where the newest of each kind that was seen can be read."""

    datasets: Callable[[], Iterable[Dataset]]
    claims: Callable[[], Iterable[ClusterClaim]]
    nodes: Callable[[], Iterable[Node]]


class ClaimReconciler:
    """Keeps claims and statuses as planned."""

    def __init__(
        self,
        api: Api,
        view: SiteView,
        *,
        owner: Callable[[], Awaitable[Json | None]],
        now: Callable[[], datetime],
        metrics: AgentMetrics,
    ) -> None:
        self._api = api
        self._view = view
        self._owner = owner
        self._now = now
        self._metrics = metrics
        self._plan: SitePlan | None = None
        self.applied = False
        """Whether the latest look left nothing unwritten; false until the first has."""

    async def reconcile(self, _key: ObjectKey) -> float | None:
        """Looks once and writes what differs; returns the seconds after which time alone asks for another look.

        Raises:
            KubeError: A write failed for another reason than missing rights; what was written before stays, and the
                next look takes it from there.
        """
        plan = plan_site(self._observe(), self._now())
        self._report(plan)
        self._plan = plan
        try:
            fresh = [await self._write(write) for write in plan.writes]
            for status in plan.statuses:
                await self._write_status(status)
        except Denied:
            self.applied = False
            _log.warning("claims_denied", exc_info=True)
            return RIGHTS_PENDING
        except KubeError:
            self.applied = False
            raise
        if not all(fresh):
            return _LOOK_AGAIN
        self.applied = True
        return None if plan.due is None else max(0.0, (plan.due - self._now()).total_seconds())

    def _observe(self) -> Observed:
        return Observed(
            datasets=tuple(self._view.datasets()),
            claims=tuple(self._view.claims()),
            nodes=tuple(self._view.nodes()),
            waiting={} if self._plan is None else self._plan.waiting,
        )

    async def _write(self, write: ClaimWrite) -> bool:
        """Does it; False when the claim is not what it was planned for, so that only another look can tell."""
        try:
            match write:
                case Creation(name, value):
                    await self._api.create(CLUSTER_CLAIM, claim_body(name, value, await self._owner()))
                case Change(name, value, version):
                    patch = {"metadata": {"resourceVersion": version}, "spec": {"value": value}}
                    await self._api.merge_patch(CLUSTER_CLAIM, ObjectKey("", name), patch)
                case Removal(name, uid):
                    await self._api.delete(CLUSTER_CLAIM, ObjectKey("", name), uid=uid)
        except (AlreadyExists, NotFound):
            return False
        action = type(write).__name__.lower()
        self._metrics.claim_writes.labels(action).inc()
        _log.info("claim_written", claim=write.name, action=action)
        return True

    async def _write_status(self, write: StatusWrite) -> None:
        body = {
            "apiVersion": DATASET.api_version,
            "kind": DATASET.kind,
            "metadata": {"name": write.name, "namespace": write.namespace},
            "status": msgspec.to_builtins(write.status),
        }
        key = ObjectKey(write.namespace, write.name)
        try:
            await self._api.apply(DATASET, key, body, field_manager=FIELD_MANAGER, subresource="status")
        except NotFound:
            return  # It went while it was judged; nobody is left to read the status.
        condition = write.status.conditions[0]
        _log.info("dataset_judged", dataset=write.name, published=condition.status, reason=condition.reason)

    def _report(self, plan: SitePlan) -> None:
        self._metrics.datasets.labels("true").set(plan.published)
        self._metrics.datasets.labels("false").set(plan.unpublished)
        self._metrics.foreign_claims.set(len(plan.foreign))
        if plan.foreign != (() if self._plan is None else self._plan.foreign):
            _log.warning("claims_belong_to_another", claims=plan.foreign)


def claim_body(name: str, value: str, owner: Json | None) -> Json:
    """The ClusterClaim to create, ours by its label, and collected with its owner when the add-on is removed."""
    metadata: Json = {"name": name, "labels": {MANAGED_BY_LABEL: MANAGED_BY}}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": CLUSTER_CLAIM.api_version,
        "kind": CLUSTER_CLAIM.kind,
        "metadata": metadata,
        "spec": {"value": value},
    }
