"""Who takes part: which sites are asked, when their number is enough, and what becomes of the chosen.

The cohort is fixed once, by name, and recorded in the run's status before anything is started on its account. From then
on it changes only as the joinPolicy says; a Placement that moves restarts nothing. A member that the hub no longer
accepts stays a member and is revoked: it comes back once it is accepted again, and its name keeps its place in the
order of folding.

Of a recorded member that is not known to have been chosen (`Observed.chosen`) nothing is asked, and the aggregator is
told nothing: whoever holds the aggregator's token can write any name there. So a member that has lost its work, because
the hub accepted it no longer, is a member again once it is accepted and the Placement chooses it.

What the aggregator is told is numbered: it hears of it in two ways, and the older word may come last. A number comes
from the time, and is in any case above the one before, so that a ConfigMap that was deleted and made anew goes on.
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
from hub_manager.federated_learning.site import ObservedSite, SiteReport

GATHERING: Final = timedelta(seconds=30)
"""How long the run waits, with enough sites ready, for those that have not answered yet."""
NEXT_ROUND: Final = "NextRound"
DATA_UNNAMED: Final = "DataClaimUnusable"
"""The cluster's claim is not a valid Dataset name."""
NOT_ACCEPTED: Final = "ClusterNotAccepted"
"""The hub does not accept the cluster, or the cluster has no federated-learning add-on."""
NOT_CHOSEN: Final = "ClusterNotChosen"
"""The Placement does not select the member, and the member has no ManifestWork of this attempt. Without either, the
hub manager can't trust that `status.cohort` names it."""
_NAMED: Final = 5
"""How many sites a message names."""
_READY: Final = frozenset({ClusterState.ACCEPTED, ClusterState.RUNNING, ClusterState.SUCCEEDED, ClusterState.ENDED})
_GONE_FOR_GOOD: Final = frozenset({ClusterState.REFUSED, ClusterState.FAILED})


@dataclass(frozen=True, slots=True)
class Gathering:
    """The run waits for sites; `until` is when it starts with those that are ready, None while they are too few."""

    ready: tuple[str, ...]
    until: datetime | None


@dataclass(frozen=True, slots=True)
class FixedCohort:
    """Who takes part, by name."""

    members: tuple[str, ...]


def dataset_of(run: FederatedLearning, site: ObservedSite, sent: ManifestWork | None = None) -> str | None:
    """The Dataset that the site shall use, or None where its claim names none.

    With the existing convention the site's claim says it: hostile text, which goes back to that site alone, and only
    when it can be a Dataset's name (D17, D18).

    Args:
        run: The run.
        site: The cluster.
        sent: The work of a member. It keeps the Dataset that it names: the site has answered for that one, and a claim
            that changes, or isn't there for a moment, is no reason to train on other data in mid-run.
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
    site: ObservedSite | None,
    sent: ManifestWork | None,
    report: SiteReport,
    run: FederatedLearning,
    *,
    member: bool,
    chosen: bool,
) -> ClusterStatus:
    """Where one cluster stands, in the fields that are the hub manager's.

    A claim keeps out of a cohort that is not fixed. A member whose claim is unusable is not told so for good: while it
    has its work its own answer counts, and without one it can't be asked until the claim is mended.
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
    """Whether the cohort can be fixed.

    Args:
        clusters: Every selected cluster.
        quorum: How many have to be ready.
        since: When enough clusters were selected.
        now: The time.
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
    """The cohort after what the Placement and the sites have changed since it was recorded.

    With NextRound, selected sites that are ready join and deselected ones leave, but never below the quorum: a
    Placement that selects nobody for a moment must not end a run.
    """
    if run.spec.server.join_policy != NEXT_ROUND:
        return recorded
    chosen = frozenset(selected)
    ready = {c.name for c in clusters if c.name in chosen and ClusterState(c.state) in _READY}
    after = tuple(sorted((set(recorded) & chosen) | ready))
    return after if len(after) >= run.spec.server.quorum else tuple(sorted(set(recorded) | ready))


def published_cohort(
    members: tuple[str, ...], sites: Mapping[str, ObservedSite], chosen: frozenset[str], before: str, now: datetime
) -> Cohort:
    """What the aggregator is told of its cohort.

    Whoever is kept out is told of as revoked: one who was only left out could never come back to a frozen cohort.

    Args:
        members: The cohort.
        sites: The clusters, as far as the hub knows them.
        chosen: Those that are known to have been chosen; any other is kept out, until it is chosen again.
        before: The `cohort.json` that is there, `""` where none is; the same cohort keeps its generation.
        now: The time.
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
    """How many members may still contribute: all but those that have refused or failed for good."""
    gone = {c.name for c in clusters if ClusterState(c.state) in _GONE_FOR_GOOD}
    return sum(name not in gone for name in members)


def ready_count(clusters: Iterable[ClusterStatus], members: tuple[str, ...]) -> int:
    """How many members take part now."""
    return sum(c.name in members and ClusterState(c.state) in _READY for c in clusters)


def gathering_message(run: FederatedLearning, clusters: Iterable[ClusterStatus]) -> str:
    """How far the gathering is, with each site's reason."""
    known = tuple(clusters)
    ready = sum(ClusterState(c.state) in _READY for c in known)
    missing = missing_message(known, tuple(c.name for c in known))
    needed = run.spec.server.quorum
    return f"{ready} of {len(known)} selected clusters are ready, {needed} are required" + (
        f": {missing}" if missing else ""
    )


def missing_message(clusters: Iterable[ClusterStatus], members: tuple[str, ...]) -> str:
    """Why members don't take part, the first few of them in words."""
    missing = [c for c in clusters if c.name in members and ClusterState(c.state) not in _READY]
    words = [
        f"{c.name} {c.state}" + (f" ({c.reason}: {c.last_error})" if c.last_error else "") for c in missing[:_NAMED]
    ]
    more = [f"and {len(missing) - _NAMED} more"] if len(missing) > _NAMED else []
    return ", ".join([*words, *more])


def after_end(clusters: Iterable[ClusterStatus]) -> tuple[ClusterStatus, ...]:
    """Where clusters stand once the run is over and their works are removed: nobody reports any more."""
    over = {ClusterState.PENDING, ClusterState.ACCEPTED, ClusterState.RUNNING}
    return tuple(
        msgspec.structs.replace(c, state=ClusterState.ENDED.value) if ClusterState(c.state) in over else c
        for c in clusters
    )
