"""Checks of the run as a whole, in the order in which a run starts."""

from collections.abc import Callable, Iterator
from typing import Final

from federation.api.meta import condition_of
from federation.api.ocm.addon import ManagedClusterAddOn
from federation.api.run_status import FAILED, SCHEDULED, SERVER_READY
from kubectl_fl.doctor.findings import (
    Finding,
    RunObservation,
    Unreadable,
    describe_condition,
    ok,
    problem,
    readable,
    unknown,
)
from kubectl_fl.doctor.remedies import remedy_for
from kubectl_fl.resources.pods import failed_container, newest_pod, start_failure

SATISFIED: Final = "PlacementSatisfied"
MISCONFIGURED: Final = "PlacementMisconfigured"
"""Conditions of OCM's Placement (api `cluster/v1beta1/types_placement.go`)."""
_FINISHED: Final = "AggregatorFinished"
"""The reason of ServerReady after the aggregator succeeded."""
_MAX_NAMED_CLUSTERS: Final = 5
"""Maximum number of clusters that a finding names."""
_PLACEMENT_REASONS: Final = frozenset(
    {"TooFewClusters", "PlacementNotDecided", "ClusterSetNotBound", "RefusedByServer"}
)
"""Reasons of Scheduled that do not concern the spec."""


def run_findings(seen: RunObservation) -> tuple[Finding, ...]:
    """Return the findings for the run as a whole."""
    return tuple(finding for check in _CHECKS for finding in check(seen))


def _end(seen: RunObservation) -> Iterator[Finding]:
    if not seen.ended:
        return
    failed = condition_of(seen.run.status.conditions, FAILED)
    if failed is not None and failed.status == "True":
        yield problem("end", f"the run has failed. {describe_condition(failed)}", remedy_for(failed))
    else:
        yield ok("end", "the run is complete")


def _spec(seen: RunObservation) -> Iterator[Finding]:
    run = seen.run
    scheduled = condition_of(run.status.conditions, SCHEDULED)
    if run.status.observed_generation < run.metadata.generation or not run.status.conditions:
        remedy = (
            "check that the hub manager is running: kubectl get pods --all-namespaces -l app.kubernetes.io/name="
            "federated-learning-hub-manager"
        )
        yield unknown("spec", "the hub manager has not observed the current generation", remedy)
    elif scheduled is not None and scheduled.status == "False" and scheduled.reason not in _PLACEMENT_REASONS:
        yield problem("spec", describe_condition(scheduled), remedy_for(scheduled))
    elif run.spec.suspend:
        yield problem("spec", "spec.suspend is true", "set spec.suspend to false")
    else:
        yield ok("spec", "accepted by the hub manager")


def _cluster_sets(seen: RunObservation) -> Iterator[Finding]:
    wanted = tuple(seen.run.spec.client.placement.get("clusterSets") or ())
    namespace = seen.run.metadata.namespace
    if isinstance(seen.bindings, Unreadable):
        yield unknown("cluster sets", seen.bindings.why)
        return
    bound = {binding.spec.cluster_set for binding in seen.bindings}
    missing = [name for name in wanted if name not in bound]
    if missing or not bound:
        what = f"{namespace} is not bound to {', '.join(missing) or 'any cluster set'}"
        remedy = f"clusteradm clusterset bind {missing[0] if missing else 'SET'} --namespace {namespace}"
        yield problem("cluster sets", what, remedy)
    else:
        yield ok("cluster sets", f"bound to {', '.join(sorted(set(wanted) or bound))}")


def _placement(seen: RunObservation) -> Iterator[Finding]:
    needed, name = seen.run.spec.server.quorum, seen.run.metadata.name
    if isinstance(seen.placement, Unreadable):
        yield unknown("placement", seen.placement.why)
        return
    if seen.placement is None:
        yield unknown(
            "placement", "the Placement does not exist yet", "fix the problems above; the hub manager then creates it"
        )
        return
    conditions = seen.placement.status.conditions
    wrong, why = condition_of(conditions, MISCONFIGURED), condition_of(conditions, SATISFIED)
    if wrong is not None and wrong.status == "True":
        yield problem("placement", describe_condition(wrong), "fix spec.client.placement")
    elif isinstance(seen.selected, Unreadable):
        yield unknown("placement", seen.selected.why)
    elif len(seen.selected) < needed:
        detail = f" ({describe_condition(why)})" if why is not None else ""
        remedy = (
            f"see the clusters below, or lower spec.server.minAvailableClients; "
            f"kubectl describe placement {name} --namespace {seen.run.metadata.namespace}"
        )
        yield problem("placement", f"{len(seen.selected)} clusters selected, {needed} required{detail}", remedy)
    else:
        yield ok("placement", f"{len(seen.selected)} clusters selected, {needed} required")


def _addon(seen: RunObservation) -> Iterator[Finding]:
    """Check how many of the hub's clusters have the add-on; clusters without it get no section in the report."""
    if isinstance(seen.addons, Unreadable) or isinstance(seen.clusters, Unreadable):
        why = seen.addons if isinstance(seen.addons, Unreadable) else seen.clusters
        yield unknown("add-on", why.why if isinstance(why, Unreadable) else "")
        return
    having = {addon.cluster for addon in seen.addons}
    without = sorted(cluster.name for cluster in seen.clusters if cluster.name not in having)
    detail = f"enabled on {len(having)} of {len(seen.clusters)} clusters"
    if without:
        more = f" and {len(without) - _MAX_NAMED_CLUSTERS} more" if len(without) > _MAX_NAMED_CLUSTERS else ""
        detail += f"; not on {', '.join(without[:_MAX_NAMED_CLUSTERS])}{more}"
    if len(having) >= seen.run.spec.server.quorum:
        yield ok("add-on", detail)
    else:
        yield problem("add-on", detail, enable_command(without[:_MAX_NAMED_CLUSTERS] or ["CLUSTER"]))


def enable_command(clusters: list[str]) -> str:
    """Return the command that enables the add-on."""
    return f"clusteradm addon enable --names federated-learning --clusters {','.join(clusters)}"


def _volume(seen: RunObservation) -> Iterator[Finding]:
    storage = seen.run.spec.server.storage
    if storage.type != "PersistentVolumeClaim" or seen.ended:
        return
    if isinstance(seen.claim, Unreadable):
        yield unknown("volume", seen.claim.why)
    elif seen.claim is None:
        detail = f"PersistentVolumeClaim {storage.name} does not exist"
        if seen.started:
            yield problem("volume", detail, "recreate the claim: it was deleted while the run uses it")
        else:
            yield unknown("volume", f"{detail} yet; it is created when enough clusters are selected")
    elif seen.claim.status.phase == "Bound":
        yield ok("volume", f"PersistentVolumeClaim {storage.name} is bound")
    elif seen.started:
        remedy = f"kubectl describe persistentvolumeclaim {storage.name}; set spec.server.storage.storageClassName"
        yield problem("volume", f"PersistentVolumeClaim {storage.name} is {seen.claim.status.phase}", remedy)
    else:
        yield unknown("volume", f"PersistentVolumeClaim {storage.name} is {seen.claim.status.phase}; many storage "
                      "classes wait for the first pod")  # fmt: skip


def _listeners(seen: RunObservation) -> Iterator[Finding]:
    if seen.ended:
        return
    reached = {listener.name: listener for listener in seen.run.status.listeners}
    for listener in reached.values():
        yield ok("listener", f"{listener.name} ({listener.type}) listens on {listener.address}:{listener.port}")
    scheduled = condition_of(seen.run.status.conditions, SCHEDULED)
    if reached:
        return
    if scheduled is None or scheduled.status != "True":
        yield unknown("listener", "created when enough clusters are selected")
    else:
        kinds = ", ".join(sorted({listener.type for listener in seen.run.spec.server.listeners}))
        remedy = "install a LoadBalancer controller, or use a listener of type NodePort"
        yield problem("listener", f"no listener has an address ({kinds})", remedy)


def _aggregator(seen: RunObservation) -> Iterator[Finding]:
    if seen.ended:
        return
    if not seen.started:
        yield unknown("aggregator", "starts when enough clusters have accepted the run")
        return
    if isinstance(seen.pods, Unreadable):
        yield unknown("aggregator", seen.pods.why)
        return
    pod = newest_pod(seen.pods)
    ready = condition_of(seen.run.status.conditions, SERVER_READY)
    name = seen.run.metadata.name
    if ready is not None and (ready.status == "True" or ready.reason == _FINISHED):
        yield ok("aggregator", describe_condition(ready))
    elif pod is None:
        detail = describe_condition(ready) if ready is not None else "the aggregator has no pod"
        yield problem("aggregator", detail, f"see why the pod is not created: kubectl describe job {name}-server")
    elif why := start_failure(pod):
        yield problem("aggregator", why, f"kubectl describe pod {pod.metadata.name}")
    elif (failed := failed_container(pod)) is not None and failed.state.terminated is not None:
        ended = failed.state.terminated
        detail = f"container {failed.name} ended ({ended.reason}, exit code {ended.exit_code}): {ended.message}"
        yield problem("aggregator", detail, f"kubectl fl logs {name}")
    else:
        yield unknown(
            "aggregator", describe_condition(ready) if ready is not None else "starting", f"kubectl fl logs {name}"
        )


_CHECKS: Final[tuple[Callable[[RunObservation], Iterator[Finding]], ...]] = (
    _end,
    _spec,
    _cluster_sets,
    _addon,
    _placement,
    _volume,
    _listeners,
    _aggregator,
)


def clusters_to_check(seen: RunObservation) -> tuple[str, ...]:
    """Return the sorted names of clusters that are selected, have a ManifestWork or have the add-on."""
    addons: tuple[ManagedClusterAddOn, ...] = readable(seen.addons)
    names = {addon.cluster for addon in addons} | set(readable(seen.selected))
    return tuple(sorted(names | {cluster.name for cluster in seen.run.status.clusters}))
