"""Plan a site's ClusterClaims and the statuses of its Datasets from one observation of the cluster. Pure.

Claims are written before the conditions that refer to them, so a Dataset never reads as published before its claim
exists.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from federation.api.dataset import Dataset, DatasetStatus
from federation.api.kubernetes.capacity import Node
from federation.api.ocm.claims import DATASET_CLAIMS, ClusterClaim
from federation.kube.actions import Apply, Create, ReconcilePlan
from federation.kube.conditions import merge_condition
from federation.kube.kinds import DATASET
from federation.kube.resource import Json, key_of
from spoke_agent.claims.planning.claims import ClaimWrite, is_ours, plan_claims
from spoke_agent.claims.planning.datasets import publish, published_condition
from spoke_agent.claims.planning.debounce import Unsettled, settle
from spoke_agent.claims.planning.resources import resource_claims
from spoke_agent.claims.planning.validation import DatasetRefusal

SiteAction = ClaimWrite | Apply


@dataclass(frozen=True, slots=True)
class ObservedSite:
    """The cluster as the agent has observed it."""

    datasets: tuple[Dataset, ...]
    claims: tuple[ClusterClaim, ...]
    """Every claim, of any owner."""
    nodes: tuple[Node, ...]
    waiting: Mapping[str, Unsettled]
    """Changes of capacity that have not lasted long enough yet."""
    owner: Json | None = None
    """The ownerReference of new claims; None if it is missing or not read yet."""


@dataclass(frozen=True, slots=True)
class SitePlan:
    """The writes of one pass, and the state that the agent keeps and reports."""

    reconcile: ReconcilePlan[SiteAction]
    """Claims first, then the Datasets' statuses."""
    waiting: Mapping[str, Unsettled]
    foreign: tuple[str, ...]
    """Names that the agent needs and that other owners' claims have."""
    published: int
    """Number of Datasets that the claims carry."""
    unpublished: int

    @property
    def needs_owner(self) -> bool:
        """Whether the plan creates a claim, which is the only write that uses the ownerReference."""
        return any(isinstance(action, Create) for action in self.reconcile.actions)


def plan_site(observed: ObservedSite, now: datetime) -> SitePlan:
    """Plan the writes that bring claims and statuses up to date."""
    ours = {claim.metadata.name: claim.spec.value for claim in observed.claims if is_ours(claim)}
    foreign = {claim.metadata.name for claim in observed.claims if not is_ours(claim)}
    dataset_values = {name: value for name, value in ours.items() if name in DATASET_CLAIMS}
    capacity_values = {name: value for name, value in ours.items() if name not in DATASET_CLAIMS}

    publication = publish(observed.datasets, present=dataset_values, barred=foreign, now=now)
    capacity = settle(resource_claims(observed.nodes), capacity_values, observed.waiting, now)
    claims = plan_claims({**capacity.claims, **publication.claims}, observed.claims, observed.owner)
    due = min((due for due in (publication.due, capacity.due) if due is not None), default=None)

    return SitePlan(
        reconcile=ReconcilePlan(
            actions=(*claims.writes, *_status_writes(observed.datasets, publication.refusals, now)),
            requeue_after=None if due is None else max(0.0, (due - now).total_seconds()),
        ),
        waiting=capacity.waiting,
        foreign=tuple(sorted({*claims.foreign, *(foreign & set(DATASET_CLAIMS))})),
        published=len(observed.datasets) - len(publication.refusals),
        unpublished=len(publication.refusals),
    )


def _status_writes(
    datasets: Iterable[Dataset], refusals: Mapping[str, DatasetRefusal], now: datetime
) -> Iterable[Apply]:
    """Yield a write for each outdated status, with the agent's own condition alone, so that it takes over no other."""
    for dataset in datasets:
        present, generation = dataset.status.conditions, dataset.metadata.generation
        new = published_condition(dataset, refusals.get(dataset.metadata.name))
        merged = merge_condition(present, new, now=now)
        stale = merged != present or dataset.status.observed_generation != generation
        if stale and not dataset.metadata.deleting:
            ours = tuple(each for each in merged if each.type == new.type)
            yield _status_write(dataset, DatasetStatus(conditions=ours, observed_generation=generation))


def _status_write(dataset: Dataset, status: DatasetStatus) -> Apply:
    key = key_of(dataset)
    body = {
        "apiVersion": DATASET.api_version,
        "kind": DATASET.kind,
        "metadata": {"name": key.name, "namespace": key.namespace},
        "status": msgspec.to_builtins(status),
    }
    return Apply(DATASET, key, body, subresource="status")
