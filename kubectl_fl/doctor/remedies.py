"""Remedies for the conditions of a run, by reason.

The reasons are those of the hub manager (docs/reference/conditions.md). For the aggregator's and the collaborators' the
message of the condition names the remedy.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from federation.api.meta import Condition
from federation.api.run_status import COMPLETE, FAILED

IN_ITS_MESSAGE: Final = "follow the message"
_SPEC: Final = "change the spec field named in the message and apply the run again"
_SITE: Final = "find the clusters and what each needs: kubectl fl doctor"

REMEDIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NameUnusable": _SPEC,
        "FrameworkNotServed": _SPEC,
        "ListenerNotServed": _SPEC,
        "AddressUnusable": _SPEC,
        "StorageNotServed": _SPEC,
        "HostPathNotAllowed": _SPEC,
        "RoundsMissing": _SPEC,
        "QuorumUnreachable": _SPEC,
        "PlanNotFound": IN_ITS_MESSAGE,
        "PlanTooLarge": IN_ITS_MESSAGE,
        "PlanPending": "wait; if this persists, check that the hub manager is running",
        "DataUnnamed": _SPEC,
        "QuantityUnreadable": _SPEC,
        "TooFewClusters": "find out what excludes each cluster: kubectl fl doctor",
        "PlacementNotDecided": "wait; if this persists, check that OCM's placement controller is running on the hub",
        "ClusterSetNotBound": IN_ITS_MESSAGE,
        "RefusedByServer": "ask the hub administrator to change the quota, policy or permission named in the message",
        "GatheringSites": _SITE,
        "SitesRefused": _SITE,
        "QuorumLost": "restore the clusters or lower spec.server.minClientsPerRound; " + _SITE,
        "NoAuthority": "check that the hub manager is running and that its log has no certificate authority error",
        "NoAddress": "install a LoadBalancer controller, or use a listener of type NodePort",
        "AggregatorStarting": "wait for the image pull; if this persists: kubectl fl doctor, kubectl fl logs",
        "Suspended": "set spec.suspend to false to resume the run",
        "SpecChanged": "wait until the run ends, or delete it; the changed spec starts a new attempt",
        "DeadlineExceeded": "raise spec.activeDeadlineSeconds, or reduce the number of rounds",
        "SitesFailed": "fix the collaborator's error: kubectl fl logs --cluster",
        "AggregatorFailed": "see its log: kubectl fl logs",
    }
)
"""Remedies by condition reason."""

NO_ACTION_NEEDED: Final = frozenset(
    {"NotStarted", "NotEnded", "Ended", "ClustersSelected", "CohortFixed", "AggregatorServing", "AggregatorFinished"}
)
"""Reasons that need no action, whatever the condition's status."""


def remedy_for(condition: Condition) -> str:
    """Return the remedy for a condition."""
    if condition.type == FAILED and condition.reason not in REMEDIES:
        return "see the aggregator's log: kubectl fl logs; changing the spec starts a new attempt"
    return REMEDIES.get(condition.reason, IN_ITS_MESSAGE)


def conditions_needing_attention(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Yield the conditions that may need action by the user."""
    for condition in conditions:
        good = "False" if condition.type == FAILED else "True"
        mild = condition.type == COMPLETE or condition.reason in NO_ACTION_NEEDED
        warned = condition.reason in {"Suspended", "SpecChanged"}
        if (condition.status != good and not mild) or warned:
            yield condition
