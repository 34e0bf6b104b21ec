"""Which claims carry a site's Datasets, and what the status of each Dataset says of it. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from federation.api.dataset import PUBLISHED, Dataset, DatasetAttributes
from federation.api.meta import Condition
from federation.api.ocm.claims import DatasetName, PublishedAttributes, dataset_claims, dataset_name, datasets_in
from spoke_agent.claims.validation import DatasetReason, DatasetRefusal, dataset_refusal, expiry


@dataclass(frozen=True, slots=True)
class Publication:
    """What to publish of a site's datasets."""

    claims: Mapping[str, str]
    """The dataset claims, name to value."""
    refusals: Mapping[str, DatasetRefusal]
    """By the name of each Dataset that the claims don't carry."""
    due: datetime | None
    """When the next dataset expires."""


def publish(
    datasets: Iterable[Dataset], *, present: Mapping[str, str], barred: Collection[str], now: datetime
) -> Publication:
    """The claims for these datasets, and why the others aren't in them.

    When there are more than the claims hold, the older ones have precedence.

    Args:
        datasets: All Datasets of the install namespace.
        present: The dataset claims as they are, so that no dataset changes its claim for nothing.
        barred: Names of claims that are another's.
        now: The time against which expiry is judged.
    """
    refusals: dict[str, DatasetRefusal] = {}
    offers: dict[DatasetName, PublishedAttributes] = {}
    expiries: list[datetime] = []
    for dataset in sorted(datasets, key=lambda each: (each.metadata.creation_timestamp, each.metadata.name)):
        refusal = dataset_refusal(dataset, now)
        if refusal is not None:
            refusals[dataset.metadata.name] = refusal
            continue
        offers[dataset_name(dataset.metadata.name)] = published_attributes(dataset.spec.attributes)
        end = expiry(dataset)
        if end is not None:
            expiries.append(end)
    claims = dataset_claims(offers, present=present, barred=barred)
    for name in offers.keys() - datasets_in(claims).keys():
        refusals[name] = DatasetRefusal(
            DatasetReason.NO_ROOM,
            "the ClusterClaims that hold datasets are full: delete a Dataset, or publish fewer attributes",
        )
    return Publication(claims=claims, refusals=refusals, due=min(expiries, default=None))


def published_condition(dataset: Dataset, refusal: DatasetRefusal | None) -> Condition:
    """The condition that tells the site's administrator what became of the dataset; its time is left to the caller."""
    return Condition(
        type=PUBLISHED,
        status="True" if refusal is None else "False",
        reason=DatasetReason.CLAIMED if refusal is None else refusal.reason,
        message="the hub can select this cluster by the dataset" if refusal is None else refusal.message,
        observed_generation=dataset.metadata.generation,
    )


def published_attributes(attributes: DatasetAttributes) -> PublishedAttributes:
    """The attributes as a claim has them."""
    digest = attributes.schema_digest.removeprefix("sha256:")
    return PublishedAttributes(rows=attributes.rows, schema=digest[:12], labels=dict(attributes.labels))
