"""From the claims that should be to the writes that make them so. Pure.

A claim is ours by its label, never by its name alone: a claim of one of our names that someone else made is left as it
is and named in the plan, so that whoever reads the log or the metric can decide whose it is to be.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from federation.api.meta import FEDERATION_GROUP
from federation.api.ocm.claims import ClusterClaim

MANAGED_BY_LABEL: Final = f"{FEDERATION_GROUP}/managed-by"
MANAGED_BY: Final = "federated-learning-agent"


@dataclass(frozen=True, slots=True)
class Creation:
    """A claim to make."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Change:
    """A claim of ours to give another value, if it is still the one that was read."""

    name: str
    value: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Removal:
    """A claim of ours to delete, if it is still the one that was read."""

    name: str
    uid: str


ClaimWrite = Creation | Change | Removal


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """What to write, in this order, and the wanted names that are another's."""

    writes: tuple[ClaimWrite, ...]
    foreign: tuple[str, ...]


def is_ours(claim: ClusterClaim) -> bool:
    """Whether this agent made the claim."""
    return claim.metadata.labels.get(MANAGED_BY_LABEL) == MANAGED_BY


def plan_claims(desired: Mapping[str, str], present: Iterable[ClusterClaim]) -> ClaimPlan:
    """The writes after which our claims are exactly the desired ones; none when they are already.

    Args:
        desired: Claim name to value.
        present: Every claim of the cluster, whoever made it.
    """
    found = {claim.metadata.name: claim for claim in present}
    writes: list[ClaimWrite] = []
    foreign: list[str] = []
    for name, value in sorted(desired.items()):
        claim = found.get(name)
        if claim is None:
            writes.append(Creation(name, value))
        elif not is_ours(claim):
            foreign.append(name)
        elif claim.spec.value != value and not claim.metadata.deleting:
            writes.append(Change(name, value, claim.metadata.resource_version))
    for name, claim in sorted(found.items()):
        if name not in desired and is_ours(claim) and not claim.metadata.deleting:
            writes.append(Removal(name, claim.metadata.uid))
    return ClaimPlan(tuple(writes), tuple(foreign))
