"""Choose the clusters that train in a run, and track them once they are chosen.

The cohort is fixed once, by name, and recorded in the run's status before the aggregator starts. After that it changes
only as `joinPolicy` allows; a changed Placement restarts nothing. A member that the hub no longer accepts stays a
member and is revoked. It returns once the hub accepts it again, and keeps its position in the order of aggregation.

A holder of the aggregator's token can write any name into the recorded cohort. A recorded member therefore gets no
ManifestWork, and is revoked for the aggregator, unless the hub manager knows that it was chosen (`ObservedRun.chosen`).
A member that lost its ManifestWork because the hub stopped accepting it returns once it is accepted and selected again.

The cohort reaches the aggregator by two ways, and the older version may arrive last, so each version has a generation.
A generation is the current time in seconds, or one more than the previous generation if that is greater. It therefore
keeps increasing after the ConfigMap was deleted and created again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from federation.api.aggregator_run import Cohort
from federation.api.federated_learning import FederatedLearning
from federation.api.ocm.claims import data_key, dataset_name
from federation.api.ocm.work import ManifestWork
from federation.api.run_status import ClusterState, ClusterStatus
from hub_manager.federated_learning.resources.manifest_work import DATASET_ANNOTATION
from hub_manager.federated_learning.site import RunCluster, SiteReport

GATHERING: Final = timedelta(seconds=30)
"""How long a run with enough ready clusters waits for those that have not answered."""
NEXT_ROUND: Final = "NextRound"
DATA_UNNAMED: Final = "DataClaimUnusable"
"""The cluster's claim is not a valid Dataset name."""
NOT_ACCEPTED: Final = "ClusterNotAccepted"
"""The hub does not accept the cluster, or the cluster has no federated-learning add-on."""
NOT_CHOSEN: Final = "ClusterNotChosen"
"""The Placement does not select the member, and the member has no ManifestWork of this attempt. Without either, the
hub manager can't trust that `status.cohort` names it."""
_NAMED: Final = 5
"""Number of clusters that a message names at most."""
_READY: Final = frozenset({ClusterState.ACCEPTED, ClusterState.RUNNING, ClusterState.SUCCEEDED, ClusterState.ENDED})
_GONE_FOR_GOOD: Final = frozenset({ClusterState.REFUSED, ClusterState.FAILED})


@dataclass(frozen=True, slots=True)
class Gathering:
    """Clusters that are ready while the run waits for more."""

    ready: tuple[str, ...]
    until: datetime | None
    """When the run starts with the ready clusters; None while they are too few."""


@dataclass(frozen=True, slots=True)
class FixedCohort:
    """Names of the members, sorted."""

    members: tuple[str, ...]


def dataset_of(run: FederatedLearning, site: RunCluster, sent: ManifestWork | None = None) -> str | None:
    """Return the Dataset that the cluster uses, or None if its claim has no valid Dataset name.

    Without `spec.client.dataset` the cluster's claim names the Dataset. The claim is untrusted text: it is sent back to
    that cluster only, and only if it is a valid Dataset name.

    Args:
        run: The run.
        site: The cluster.
        sent: The ManifestWork of a member. Its Dataset is kept even if the claim changes or disappears, so that the
            cluster never trains on other data in the middle of a run.
    """
    if run.spec.client.dataset:
        return run.spec.client.dataset
    kept = "" if sent is None else sent.metadata.annotations.get(DATASET_ANNOTATION, "")
    for value in (kept, dict(site.claims).get(data_key(run.spec.client.placement), "")):
        try:
            return dataset_name(value)
        except ValueError:
            continue
    return None


def cluster_status(
    name: str,
    site: RunCluster | None,
    sent: ManifestWork | None,
    report: SiteReport,
    run: FederatedLearning,
    *,
    member: bool,
    chosen: bool,
) -> ClusterStatus:
    """Return the status of one cluster, in the fields that the hub manager owns.

    Before the cohort is fixed, a cluster with an invalid claim is refused. A member with an invalid claim is not: its
    report counts while it has a ManifestWork, and without one it is pending until the claim is fixed.
    """
    if site is None or not site.accepted:
        state = ClusterState.LOST if member else ClusterState.PENDING
        remedy = "accept the cluster and enable the federated-learning add-on on it"
        return ClusterStatus(name=name, state=state.value, reason=NOT_ACCEPTED, last_error=remedy)
    if not chosen:
        remedy = "spec.client.placement does not select the cluster; for the cause, run kubectl fl doctor"
        return ClusterStatus(name=name, state=ClusterState.LOST.value, reason=NOT_CHOSEN, last_error=remedy)
    if dataset_of(run, site, sent if member else None) is None:
        key = data_key(run.spec.client.placement)
        state = ClusterState.PENDING if member else ClusterState.REFUSED
        remedy = f"its claim {key} is not a valid Dataset name: set spec.client.dataset, or fix the ClusterClaim"
        return ClusterStatus(name=name, state=state.value, reason=DATA_UNNAMED, last_error=remedy)
    return ClusterStatus(name=name, state=report.state.value, reason=report.reason, last_error=report.message)


def gather(
    clusters: Iterable[ClusterStatus], quorum: int, *, since: datetime, now: datetime
) -> FixedCohort | Gathering:
    """Return the fixed cohort, or the clusters that are ready so far.

    Args:
        clusters: Every selected cluster.
        quorum: Number of clusters that have to be ready.
        since: Time since which enough clusters are selected.
        now: Current time.
    """
    known = tuple(clusters)
    ready = tuple(sorted(c.name for c in known if ClusterState(c.state) in _READY))
    unanswered = any(ClusterState(c.state) is ClusterState.PENDING for c in known)
    if len(ready) < quorum:
        return Gathering(ready, None)
    if unanswered and now < since + GATHERING:
        return Gathering(ready, since + GATHERING)
    return FixedCohort(ready)


def current_members(
    run: FederatedLearning, recorded: tuple[str, ...], selected: tuple[str, ...], clusters: Iterable[ClusterStatus]
) -> tuple[str, ...]:
    """Return the cohort after the changes of the Placement and the clusters since it was recorded.

    With NextRound, selected clusters that are ready join and deselected ones leave. Members never leave below the
    quorum: a Placement that selects too few clusters for a moment must not end a run.
    """
    if run.spec.server.join_policy != NEXT_ROUND:
        return recorded
    chosen = frozenset(selected)
    ready = {c.name for c in clusters if c.name in chosen and ClusterState(c.state) in _READY}
    after = tuple(sorted((set(recorded) & chosen) | ready))
    return after if len(after) >= run.spec.server.quorum else tuple(sorted(set(recorded) | ready))


def published_cohort(
    members: tuple[str, ...], sites: Mapping[str, RunCluster], chosen: frozenset[str], before: str, now: datetime
) -> Cohort:
    """Return the cohort to publish to the aggregator.

    Members without access are published as revoked: a member that was left out could not return to a frozen cohort.

    Args:
        members: The cohort.
        sites: The clusters that the hub knows.
        chosen: Clusters that the hub manager knows to be chosen; other members are revoked until they are chosen again.
        before: The published `cohort.json`, or `""`; an unchanged cohort keeps its generation.
        now: Current time.
    """
    revoked = tuple(n for n in members if n not in chosen or n not in sites or not sites[n].accepted)
    try:
        known = msgspec.json.decode(before, type=Cohort)
    except msgspec.DecodeError:
        known = Cohort(generation=0, members=())
    if (known.members, known.revoked) == (members, revoked):
        return known
    return Cohort(generation=max(known.generation + 1, int(now.timestamp())), members=members, revoked=revoked)


def able_count(clusters: Iterable[ClusterStatus], members: tuple[str, ...]) -> int:
    """Count the members that can still contribute: those that have neither refused nor failed permanently."""
    gone = {c.name for c in clusters if ClusterState(c.state) in _GONE_FOR_GOOD}
    return sum(name not in gone for name in members)


def ready_count(clusters: Iterable[ClusterStatus], members: tuple[str, ...]) -> int:
    """Count the members that are ready now."""
    return sum(c.name in members and ClusterState(c.state) in _READY for c in clusters)


def gathering_message(run: FederatedLearning, clusters: Iterable[ClusterStatus]) -> str:
    """Describe how many selected clusters are ready, and why the others are not."""
    known = tuple(clusters)
    ready = sum(ClusterState(c.state) in _READY for c in known)
    missing = missing_message(known, tuple(c.name for c in known))
    needed = run.spec.server.quorum
    return f"{ready} of {len(known)} selected clusters are ready, {needed} are required" + (
        f": {missing}" if missing else ""
    )


def missing_message(clusters: Iterable[ClusterStatus], members: tuple[str, ...]) -> str:
    """Describe why members are not ready, for the first few of them."""
    missing = [c for c in clusters if c.name in members and ClusterState(c.state) not in _READY]
    descriptions = [
        f"{c.name} {c.state}" + (f" ({c.reason}: {c.last_error})" if c.last_error else "") for c in missing[:_NAMED]
    ]
    more = [f"and {len(missing) - _NAMED} more"] if len(missing) > _NAMED else []
    return ", ".join([*descriptions, *more])


def after_end(clusters: Iterable[ClusterStatus]) -> tuple[ClusterStatus, ...]:
    """Return the cluster statuses after the end of the run, when no cluster reports any longer."""
    over = {ClusterState.PENDING, ClusterState.ACCEPTED, ClusterState.RUNNING}
    return tuple(
        msgspec.structs.replace(c, state=ClusterState.ENDED.value) if ClusterState(c.state) in over else c
        for c in clusters
    )
