"""Claims and scores that a spoke publishes, and the Placement predicates that select by them.

The spoke agent writes claims with `dataset_claims`; the hub manager selects with `dataset_predicate`. Both sides of the
encoding are in this file, so that they stay consistent. A spoke writes its claims itself, so they may rank or select
clusters and never authorize one.

OCM copies at most 20 custom claims of a cluster to the hub, the first by name (ocm
`pkg/registration/spoke/managedcluster/claim_reconcile.go`). Three rules keep the product's claims within the limit:

- datasets share claims: a shard's value is one JSON object with a member for each dataset, and there are at most
  `DATASET_SHARDS` shards; with the four resource claims the product has at most 12;
- their names begin with a digit, so they sort before names that begin with a letter when the list is cut;
- they share one suffix, so an administrator can exempt them from the limit with the Klusterlet's
  `reservedClusterClaimSuffixes`.

Sources: OCM API `cluster/v1alpha1`; CEL environment of Placement: sdk-go `pkg/cel/library` (`parseJSON` is a member).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final, NewType

import msgspec

from federation.api.dns_names import is_dns_label
from federation.api.kubernetes.quantity import parse_quantity
from federation.api.meta import FEDERATION_GROUP, Resource, Struct

CLAIM_SUFFIX: Final = f".{FEDERATION_GROUP}"
CLAIM_VALUE_MAX: Final = 1024
"""Maximum characters of a ClusterClaim's `spec.value` (its CRD)."""

DATASET_SHARDS: Final = 8
"""Room for about 130 datasets with attributes; a Dataset without room reports that it is not published."""
_DATASETS_PREFIX: Final = "0-datasets-"
DATASET_CLAIMS: Final = tuple(f"{_DATASETS_PREFIX}{shard}{CLAIM_SUFFIX}" for shard in range(DATASET_SHARDS))

CPU_CLAIM: Final = f"0-cpu{CLAIM_SUFFIX}"
"""Allocatable CPU cores of the usable nodes, rounded down."""
MEMORY_CLAIM: Final = f"0-memory-gib{CLAIM_SUFFIX}"
"""Allocatable memory of the usable nodes in GiB, rounded down."""
GPU_CLAIM: Final = f"0-gpu{CLAIM_SUFFIX}"
"""Allocatable GPUs of the usable nodes."""
GPU_PRODUCT_CLAIM: Final = f"0-gpu-product{CLAIM_SUFFIX}"
"""The most frequent GPU product, from the vendor's node label; absent without such a label."""

GPU_RESOURCES: Final = ("nvidia.com/gpu", "amd.com/gpu")
"""Resources that the GPU claim counts together; other devices are neither claimed nor required."""
_GIB: Final = Decimal(2**30)

SCORE_OBJECT: Final = "federated-learning"
"""The AddOnPlacementScore of each cluster: a prioritizer's `addOn.resourceName`."""

DatasetName = NewType("DatasetName", str)


class ClusterClaimSpec(Struct, frozen=True):
    """The value of a ClusterClaim."""

    value: str = ""


class ClusterClaim(Resource, frozen=True):
    """A cluster-scoped claim on the spoke; OCM copies it into the ManagedCluster's status on the hub."""

    spec: ClusterClaimSpec = ClusterClaimSpec()


class Score(Struct, frozen=True):
    """One number by which a Placement ranks clusters, from -100 to 100; more is better."""

    name: str
    value: int


class AddOnPlacementScoreStatus(Struct, frozen=True):
    """The scores, and the time from which OCM treats them as 0."""

    scores: tuple[Score, ...] = ()
    valid_until: str = ""


class AddOnPlacementScore(Resource, frozen=True):
    """A cluster's scores, in its namespace on the hub."""

    status: AddOnPlacementScoreStatus = AddOnPlacementScoreStatus()


class PublishedAttributes(Struct, frozen=True):
    """A dataset's attributes that the site publishes to the hub, besides its name."""

    rows: int | None = None
    schema: str = ""
    """The first 12 hexadecimal digits of the schema's SHA-256: enough to compare by, short enough for a claim."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)


def dataset_name(text: str) -> DatasetName:
    """Validate a dataset's name: a DNS label (RFC 1123), which needs no escaping in CEL, JSON and paths.

    Raises:
        ValueError: The name is invalid; the message names the remedy.
    """
    if not is_dns_label(text):
        raise ValueError(
            f"dataset name {text[:80]!r}: use at most 63 lower-case letters, digits and '-', "
            "beginning and ending with a letter or digit"
        )
    return DatasetName(text)


def dataset_predicate(name: str) -> str:
    """Return a CEL expression for `celSelector.celExpressions` that selects clusters with the dataset.

    Raises:
        ValueError: `name` is not a valid dataset name.
    """
    return (
        f'managedCluster.status.clusterClaims.exists(c, c.name.startsWith("{_DATASETS_PREFIX}") && '
        f'c.name.endsWith("{CLAIM_SUFFIX}") && "{dataset_name(name)}" in c.value.parseJSON())'
    )


def at_least_predicate(claim: str, amount: int) -> str:
    """Return a CEL expression that selects clusters whose numeric claim is `amount` or more.

    Args:
        claim: `CPU_CLAIM`, `MEMORY_CLAIM` or `GPU_CLAIM`.
        amount: The amount, in the claim's unit.
    """
    return f'managedCluster.status.clusterClaims.exists(c, c.name == "{claim}" && int(c.value) >= {amount:d})'


def required_amounts(requests: Mapping[str, str | int]) -> dict[str, int]:
    """Return the claims that a cluster needs for a container with these requests, each in its unit.

    Amounts are rounded down like the claims, so only clusters that surely lack capacity are excluded. Amounts below 1
    and resources without a claim, such as other devices, require nothing.

    Raises:
        ValueError: An amount is not a quantity.
    """
    asked = {CPU_CLAIM: Decimal(0), MEMORY_CLAIM: Decimal(0), GPU_CLAIM: Decimal(0)}
    for name, text in requests.items():
        amount = parse_quantity(str(text))
        if name == "cpu":
            asked[CPU_CLAIM] += amount
        elif name == "memory":
            asked[MEMORY_CLAIM] += amount / _GIB
        elif name in GPU_RESOURCES:
            asked[GPU_CLAIM] += amount
    floors = {claim: int(amount.to_integral_value(rounding=ROUND_FLOOR)) for claim, amount in asked.items()}
    return {claim: amount for claim, amount in floors.items() if amount >= 1}


def data_key(placement: Mapping[str, Any]) -> str:
    """Return the claim that names a site's data by the existing convention, or `""`.

    It is the last claim with operator Exists.

    Source: addon-contrib `federated-learning-controller/internal/controller/federatedlearning_client.go`.
    """
    found = ""
    for predicate in placement.get("predicates") or ():
        selector = (predicate.get("requiredClusterSelector") or {}).get("claimSelector") or {}
        for expression in selector.get("matchExpressions") or ():
            if expression.get("operator") == "Exists":
                found = expression.get("key", "")
    return found


def datasets_in(claims: Mapping[str, str]) -> dict[DatasetName, PublishedAttributes]:
    """Return the datasets that these claims (name to value) publish; invalid claims are skipped."""
    found: dict[DatasetName, PublishedAttributes] = {}
    for claim in DATASET_CLAIMS:
        found = _members(claims.get(claim, "")) | found
    return found


def dataset_claims(
    offers: Mapping[DatasetName, PublishedAttributes],
    *,
    present: Mapping[str, str] | None = None,
    barred: Collection[str] = (),
) -> dict[str, str]:
    """Return the claims, name to value, that publish the datasets; `datasets_in` shows which had room.

    A dataset stays in the claim that already publishes it, and a new one never displaces it. So a change writes one
    claim, and the hub never misses a dataset between two writes.

    Args:
        offers: The datasets in the order in which they get room.
        present: The existing dataset claims.
        barred: Names of claims that belong to another owner.
    """
    entries = {name: _member(name, attributes) for name, attributes in offers.items()}
    shards = [_Shard(claim) for claim in DATASET_CLAIMS if claim not in barred]
    unplaced = dict(entries)
    for shard in shards:
        already = _members((present or {}).get(shard.claim, ""))
        for name in [name for name in unplaced if name in already]:
            if shard.take(entries[name]):
                del unplaced[name]
    for entry in unplaced.values():
        any(shard.take(entry) for shard in shards)
    return {shard.claim: shard.value for shard in shards if shard.entries}


@dataclass(slots=True)
class _Shard:
    """A dataset claim under construction."""

    claim: str
    entries: list[str] = field(default_factory=list)
    length: int = len("{}")

    def take(self, entry: str) -> bool:
        """Add the entry if the value stays within its limit; return whether it did."""
        longer = self.length + len(entry) + (1 if self.entries else 0)
        if longer > CLAIM_VALUE_MAX:
            return False
        self.entries.append(entry)
        self.length = longer
        return True

    @property
    def value(self) -> str:
        return "{" + ",".join(sorted(self.entries)) + "}"


def _member(name: DatasetName, attributes: PublishedAttributes) -> str:
    encoded = msgspec.json.encode({name: attributes}, order="deterministic").decode()
    return encoded[1:-1]


def _members(value: str) -> dict[DatasetName, PublishedAttributes]:
    try:
        decoded = msgspec.json.decode(value, type=dict[str, PublishedAttributes])
    except msgspec.MsgspecError:
        return {}
    return {DatasetName(name): found for name, found in decoded.items() if is_dns_label(name)}
