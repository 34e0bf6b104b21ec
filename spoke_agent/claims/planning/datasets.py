"""Build the claims that carry a site's Datasets, and the condition `Published` of each Dataset. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from federation.api.dataset import PUBLISHED, Dataset, DatasetAttributes
from federation.api.meta import Condition
from federation.api.ocm.claims import DatasetName, PublishedAttributes, dataset_claims, dataset_name, datasets_in
from spoke_agent.claims.planning.validation import DatasetReason, DatasetRefusal, dataset_refusal, expiry


@dataclass(frozen=True, slots=True)
class Publication:
    """Claims for a site's datasets, and the datasets that they omit."""

    claims: Mapping[str, str]
    """The dataset claims, name to value."""
    refusals: Mapping[str, DatasetRefusal]
    """The refusal for the name of each Dataset that the claims omit."""
    due: datetime | None
    """The time at which the next dataset expires; None if none does."""


def publish(
    datasets: Iterable[Dataset], *, present: Mapping[str, str], barred: Collection[str], now: datetime
) -> Publication:
    """Build the claims for these datasets, and the refusals of those that cannot be published.

    If the claims cannot hold all of them, older datasets have precedence.

    Args:
        datasets: All Datasets of the install namespace.
        present: The current dataset claims, so that no dataset moves to another claim without need.
        barred: Names of claims that have another owner.
        now: The time against which expiry is checked.
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
            "the ClusterClaims for datasets are full: delete a Dataset, or remove attributes from spec.attributes",
        )
    return Publication(claims=claims, refusals=refusals, due=min(expiries, default=None))


def published_condition(dataset: Dataset, refusal: DatasetRefusal | None) -> Condition:
    """Build the condition `Published` of the dataset, without its transition time."""
    return Condition(
        type=PUBLISHED,
        status="True" if refusal is None else "False",
        reason=DatasetReason.CLAIMED if refusal is None else refusal.reason,
        message="the hub can select this cluster by the dataset" if refusal is None else refusal.message,
        observed_generation=dataset.metadata.generation,
    )


def published_attributes(attributes: DatasetAttributes) -> PublishedAttributes:
    """Convert the attributes to their form in a claim."""
    digest = attributes.schema_digest.removeprefix("sha256:")
    return PublishedAttributes(rows=attributes.rows, schema=digest[:12], labels=dict(attributes.labels))
