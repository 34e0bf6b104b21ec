"""What to do about a run's condition that is not fine, by its reason. Pure.

The reasons are the hub manager's and the sites' (docs/collaborators.md); a reason that is not here brings a message
that says it all, or is the aggregator's, which knows more than this table.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from federation.api.meta import Condition
from federation.api.run_status import COMPLETE, FAILED

IN_ITS_MESSAGE: Final = "the message says what to change"
_SPEC: Final = "change the field of the spec that the message names, and apply it again"
_SITE: Final = "see which sites, and what each needs: kubectl fl doctor"

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
        "PlanPending": "wait a moment; if it lasts, see that the hub manager runs",
        "DataUnnamed": _SPEC,
        "QuantityUnreadable": _SPEC,
        "TooFewClusters": "see what keeps each cluster out: kubectl fl doctor",
        "PlacementNotDecided": "wait a moment; if it lasts, see that OCM's placement controller runs on the hub",
        "ClusterSetNotBound": IN_ITS_MESSAGE,
        "RefusedByServer": "the API server's words name the quota, the policy or the right: have it changed",
        "GatheringSites": _SITE,
        "SitesRefused": _SITE,
        "QuorumLost": "bring the sites back, or lower spec.server.minClientsPerRound; " + _SITE,
        "NoAuthority": "see that the hub manager runs, and its log line of the certificate authority",
        "NoAddress": "a LoadBalancer needs a controller that gives addresses; or use a listener of type NodePort",
        "AggregatorStarting": "wait for its image; if it lasts: kubectl fl doctor, kubectl fl logs",
        "Suspended": "set spec.suspend to false for the run to go on",
        "SpecChanged": "wait for the end of the run, or delete it; the changed spec starts it anew",
        "DeadlineExceeded": "raise spec.activeDeadlineSeconds, or set fewer rounds",
        "SitesFailed": "mend what the site's error names: kubectl fl logs --cluster",
        "AggregatorFailed": "see its last words: kubectl fl logs",
    }
)
"""By reason of a condition of the run."""

NO_ACTION_NEEDED: Final = frozenset(
    {"NotStarted", "NotEnded", "Ended", "ClustersSelected", "CohortFixed", "AggregatorServing", "AggregatorFinished"}
)
"""Reasons that no one has to do anything about, whatever the status."""


def remedy_for(condition: Condition) -> str:
    """What to do about the condition."""
    if condition.type == FAILED and condition.reason not in REMEDIES:
        return "see the aggregator's log: kubectl fl logs; a change of the spec starts the run anew"
    return REMEDIES.get(condition.reason, IN_ITS_MESSAGE)


def conditions_needing_attention(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """The conditions that somebody may have to do something about."""
    for condition in conditions:
        good = "False" if condition.type == FAILED else "True"
        mild = condition.type == COMPLETE or condition.reason in NO_ACTION_NEEDED
        warned = condition.reason in {"Suspended", "SpecChanged"}
        if (condition.status != good and not mild) or warned:
            yield condition
