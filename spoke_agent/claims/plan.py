"""Everything that a site's claims and Datasets' statuses should become, from one look at the cluster. Pure.

The order matters to a reader of the status: claims are written first, then the conditions that speak of them, so a
Dataset never reads as published before the hub could know it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from federation.api.dataset import Dataset, DatasetStatus
from federation.api.kubernetes.capacity import Node
from federation.api.ocm.claims import DATASET_CLAIMS, ClusterClaim
from federation.kube.conditions import merge_condition
from spoke_agent.claims.claims import ClaimWrite, is_ours, plan_claims
from spoke_agent.claims.datasets import publish, published_condition
from spoke_agent.claims.debounce import Unsettled, settle
from spoke_agent.claims.resources import resource_claims
from spoke_agent.claims.validation import Refusal


@dataclass(frozen=True, slots=True)
class Observed:
    """The cluster as the agent sees it."""

    datasets: tuple[Dataset, ...]
    claims: tuple[ClusterClaim, ...]
    """Every claim, whoever made it."""
    nodes: tuple[Node, ...]
    waiting: Mapping[str, Unsettled]
    """Changes of capacity that have not lasted long enough yet."""


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """A Dataset's status to write."""

    namespace: str
    name: str
    status: DatasetStatus


@dataclass(frozen=True, slots=True)
class SitePlan:
    """What to do now, and what to look at again later."""

    writes: tuple[ClaimWrite, ...]
    statuses: tuple[StatusWrite, ...]
    foreign: tuple[str, ...]
    """Names that we need and that others' claims have."""
    published: int
    """How many datasets the claims carry."""
    unpublished: int
    waiting: Mapping[str, Unsettled]
    due: datetime | None
    """When time alone changes the plan."""


def plan_site(observed: Observed, now: datetime) -> SitePlan:
    """What the site should say of itself now."""
    ours = {claim.metadata.name: claim.spec.value for claim in observed.claims if is_ours(claim)}
    foreign = {claim.metadata.name for claim in observed.claims if not is_ours(claim)}
    told_datasets = {name: value for name, value in ours.items() if name in DATASET_CLAIMS}
    told_capacity = {name: value for name, value in ours.items() if name not in DATASET_CLAIMS}

    publication = publish(observed.datasets, present=told_datasets, barred=foreign, now=now)
    capacity = settle(resource_claims(observed.nodes), told_capacity, observed.waiting, now)
    plan = plan_claims({**capacity.claims, **publication.claims}, observed.claims)

    return SitePlan(
        writes=plan.writes,
        statuses=tuple(_status_writes(observed.datasets, publication.refusals, now)),
        foreign=tuple(sorted({*plan.foreign, *(foreign & set(DATASET_CLAIMS))})),
        published=len(observed.datasets) - len(publication.refusals),
        unpublished=len(publication.refusals),
        waiting=capacity.waiting,
        due=min((due for due in (publication.due, capacity.due) if due is not None), default=None),
    )


def _status_writes(
    datasets: Iterable[Dataset], refusals: Mapping[str, Refusal], now: datetime
) -> Iterable[StatusWrite]:
    """One for each Dataset whose status differs from what it should be; it holds our condition alone, to be applied."""
    for dataset in datasets:
        present, generation = dataset.status.conditions, dataset.metadata.generation
        new = published_condition(dataset, refusals.get(dataset.metadata.name))
        merged = merge_condition(present, new, now=now)
        stale = merged != present or dataset.status.observed_generation != generation
        if stale and not dataset.metadata.deleting:
            ours = tuple(each for each in merged if each.type == new.type)
            yield StatusWrite(
                dataset.metadata.namespace,
                dataset.metadata.name,
                DatasetStatus(conditions=ours, observed_generation=generation),
            )
