"""What a spoke says of itself in ClusterClaims and in an AddOnPlacementScore, and how the hub's Placements ask for it.

The spoke agent writes with `dataset_claims`, the hub manager asks with `dataset_predicate`: both sides of the encoding
stand in this file, so that neither can drift from the other. Nothing here is ever authority: a spoke writes its claims
itself, so they say where a run may be worth starting, never who may take part in it.

OCM copies at most 20 custom claims of a cluster to the hub, the first by name (ocm
`pkg/registration/spoke/managedcluster/claim_reconcile.go`). Three things keep ours within that and among them:

- every dataset shares a few claims: a shard's value is one JSON object with a member for each dataset, and there are
  at most `DATASET_SHARDS` of them whatever the number of datasets; with the four of resources that makes 12;
- our names begin with a digit, so they come before any name that begins with a letter when the list is cut;
- they share one suffix, so an administrator can exempt them from the cut altogether, by the Klusterlet's
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
"""Characters that `spec.value` of a ClusterClaim may have (its CRD)."""

DATASET_SHARDS: Final = 8
"""Room for some 130 datasets with attributes; what finds none stays unpublished, and its Dataset says so."""
_DATASETS_PREFIX: Final = "0-datasets-"
DATASET_CLAIMS: Final = tuple(f"{_DATASETS_PREFIX}{shard}{CLAIM_SUFFIX}" for shard in range(DATASET_SHARDS))

CPU_CLAIM: Final = f"0-cpu{CLAIM_SUFFIX}"
"""Allocatable CPU cores of the usable nodes, rounded down."""
MEMORY_CLAIM: Final = f"0-memory-gib{CLAIM_SUFFIX}"
"""Allocatable memory of the usable nodes in GiB, rounded down."""
GPU_CLAIM: Final = f"0-gpu{CLAIM_SUFFIX}"
"""Allocatable GPUs of the usable nodes."""
GPU_PRODUCT_CLAIM: Final = f"0-gpu-product{CLAIM_SUFFIX}"
"""The product of most of the GPUs, as the vendor's node label has it; absent where no node carries one."""

GPU_RESOURCES: Final = ("nvidia.com/gpu", "amd.com/gpu")
"""What the GPU claim counts, together, on either side. Another kind is neither claimed nor asked for."""
_GIB: Final = Decimal(2**30)

SCORE_OBJECT: Final = "federated-learning"
"""The AddOnPlacementScore of each cluster: a prioritizer's `addOn.resourceName`."""

DatasetName = NewType("DatasetName", str)


class ClusterClaimSpec(Struct, frozen=True):
    """What is claimed."""

    value: str = ""


class ClusterClaim(Resource, frozen=True):
    """One fact of a spoke, cluster-scoped there; OCM copies it into the ManagedCluster's status on the hub."""

    spec: ClusterClaimSpec = ClusterClaimSpec()


class Score(Struct, frozen=True):
    """One number by which a Placement ranks clusters, from -100 to 100; more is better."""

    name: str
    value: int


class AddOnPlacementScoreStatus(Struct, frozen=True):
    """The scores and the moment from which OCM takes them for 0."""

    scores: tuple[Score, ...] = ()
    valid_until: str = ""


class AddOnPlacementScore(Resource, frozen=True):
    """A cluster's scores, in its namespace on the hub."""

    status: AddOnPlacementScoreStatus = AddOnPlacementScoreStatus()


class PublishedAttributes(Struct, frozen=True):
    """What the hub learns of a dataset besides its name; the site chose each in the Dataset's spec."""

    rows: int | None = None
    schema: str = ""
    """The first 12 hexadecimal digits of the schema's SHA-256: enough to compare by, short enough for a claim."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)


def dataset_name(text: str) -> DatasetName:
    """The text as a dataset's name: a DNS label (RFC 1123), so that it can stand in CEL, JSON and paths as it is.

    Raises:
        ValueError: It is none; the message names the remedy.
    """
    if not is_dns_label(text):
        raise ValueError(
            f"dataset name {text[:80]!r}: use at most 63 lower-case letters, digits and '-', "
            "beginning and ending with a letter or digit"
        )
    return DatasetName(text)


def dataset_predicate(name: str) -> str:
    """A CEL expression for `celSelector.celExpressions` that holds for the clusters that offer the dataset.

    Raises:
        ValueError: `name` can't be a dataset's name.
    """
    return (
        f'managedCluster.status.clusterClaims.exists(c, c.name.startsWith("{_DATASETS_PREFIX}") && '
        f'c.name.endsWith("{CLAIM_SUFFIX}") && "{dataset_name(name)}" in c.value.parseJSON())'
    )


def at_least_predicate(claim: str, amount: int) -> str:
    """A CEL expression that holds for the clusters whose numeric claim is `amount` or more.

    Args:
        claim: `CPU_CLAIM`, `MEMORY_CLAIM` or `GPU_CLAIM`.
        amount: In the claim's own unit.
    """
    return f'managedCluster.status.clusterClaims.exists(c, c.name == "{claim}" && int(c.value) >= {amount:d})'


def required_amounts(requests: Mapping[str, str | int]) -> dict[str, int]:
    """What a cluster has to claim for a container with these requests, by claim, in the claim's own unit.

    Amounts are rounded down, as the claims are: what can't fit is left out, no more. So less than 1 asks for nothing,
    and so does a resource of which there is no claim, such as a device of another kind.

    Raises:
        ValueError: An amount is no quantity.
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
    """The claim that names a site's data in the existing convention: the last that is asked to exist, or `""`.

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
    """The datasets that these claims (name to value) publish; whatever can't be read is passed over."""
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
    """The claims, name to value, that publish the datasets; those without room are left out (`datasets_in` tells).

    A dataset stays in the claim that publishes it already, and a newcomer never displaces it. So a change writes one
    claim, and no cluster loses a dataset in the eyes of the hub while two claims are written one after the other.

    Args:
        offers: The datasets in the order in which they get room.
        present: The dataset claims as they are now.
        barred: Names of claims that are another's and can't be used.
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
    """One dataset claim while it is filled."""

    claim: str
    entries: list[str] = field(default_factory=list)
    length: int = len("{}")

    def take(self, entry: str) -> bool:
        """Adds the entry if the value then stays within its limit."""
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
