"""Plan the writes that turn the cluster's ClusterClaims into the desired ones. Pure.

The agent owns a claim by its label, never by its name alone. A claim of a needed name without the label is left
unchanged and listed in the plan, so that an administrator sees the conflict in the log and the metric.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from federation.api.meta import FEDERATION_GROUP
from federation.api.ocm.claims import ClusterClaim
from federation.kube.actions import Create, Delete, Patch
from federation.kube.kinds import CLUSTER_CLAIM
from federation.kube.resource import Json, ObjectKey

MANAGED_BY_LABEL: Final = f"{FEDERATION_GROUP}/managed-by"
MANAGED_BY: Final = "federated-learning-agent"

ClaimWrite = Create | Patch | Delete


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """The writes in their order, and the desired names of which another owner has a claim."""

    writes: tuple[ClaimWrite, ...]
    foreign: tuple[str, ...]


def is_ours(claim: ClusterClaim) -> bool:
    """Return whether the claim has the agent's label."""
    return claim.metadata.labels.get(MANAGED_BY_LABEL) == MANAGED_BY


def plan_claims(desired: Mapping[str, str], present: Iterable[ClusterClaim], owner: Json | None) -> ClaimPlan:
    """Plan the writes after which the agent's claims are exactly the desired ones.

    Args:
        desired: Claim name to value.
        present: Every claim of the cluster, of any owner.
        owner: The ownerReference of new claims; None to create them without one.
    """
    found = {claim.metadata.name: claim for claim in present}
    writes: list[ClaimWrite] = []
    foreign: list[str] = []
    for name, value in sorted(desired.items()):
        claim = found.get(name)
        if claim is None:
            writes.append(Create(CLUSTER_CLAIM, ObjectKey("", name), claim_body(name, value, owner)))
        elif not is_ours(claim):
            foreign.append(name)
        elif claim.spec.value != value and not claim.metadata.deleting:
            # The resourceVersion rejects the write if the claim has changed, for example lost the agent's label.
            patch = {"metadata": {"resourceVersion": claim.metadata.resource_version}, "spec": {"value": value}}
            writes.append(Patch(CLUSTER_CLAIM, ObjectKey("", name), patch))
    for name, claim in sorted(found.items()):
        if name not in desired and is_ours(claim) and not claim.metadata.deleting:
            writes.append(Delete(CLUSTER_CLAIM, ObjectKey("", name), claim.metadata.uid))
    return ClaimPlan(tuple(writes), tuple(foreign))


def claim_body(name: str, value: str, owner: Json | None) -> Json:
    """Return the ClusterClaim to create, with the agent's label, and deleted with its owner by garbage collection."""
    metadata: Json = {"name": name, "labels": {MANAGED_BY_LABEL: MANAGED_BY}}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": CLUSTER_CLAIM.api_version,
        "kind": CLUSTER_CLAIM.kind,
        "metadata": metadata,
        "spec": {"value": value},
    }
