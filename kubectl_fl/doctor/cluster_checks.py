"""Checks of one cluster: registration, capacity for the run, and the state of its collaborator."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from federation.api.collaborator import CollaboratorState
from federation.api.kubernetes.quantity import parse_quantity
from federation.api.meta import condition_of
from federation.api.ocm.addon import ManagedClusterAddOn
from federation.api.ocm.claims import (
    CPU_CLAIM,
    GPU_CLAIM,
    GPU_RESOURCES,
    MEMORY_CLAIM,
    data_key,
    datasets_in,
    required_amounts,
)
from federation.api.ocm.cluster import ClusterTaint, ManagedCluster
from federation.api.ocm.work import APPLIED
from federation.api.run_names import work_name
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
from kubectl_fl.doctor.run_checks import enable_command
from kubectl_fl.resources.pods import CollaboratorReport, approval_command, collaborator_report, find_work
from kubectl_fl.terminal_text import format_age

SET_LABEL: Final = "cluster.open-cluster-management.io/clusterset"
GLOBAL_SET: Final = "global"
"""OCM's ManagedClusterSet that contains every cluster."""
_UNITS: Final = {CPU_CLAIM: "cores", MEMORY_CLAIM: "GiB of memory", GPU_CLAIM: "GPUs"}


@dataclass(frozen=True, slots=True)
class ObservedCluster:
    """One cluster of an observation."""

    seen: RunObservation
    name: str
    now: datetime

    @property
    def cluster(self) -> ManagedCluster | None:
        """Return the ManagedCluster, if the hub has it."""
        return next((c for c in readable(self.seen.clusters) if c.name == self.name), None)

    @property
    def addon(self) -> ManagedClusterAddOn | None:
        """Return the cluster's federated-learning add-on, if enabled."""
        return next((a for a in readable(self.seen.addons) if a.cluster == self.name), None)

    @property
    def claims(self) -> dict[str, str]:
        """Return the values of the cluster's claims by name."""
        cluster = self.cluster
        return {} if cluster is None else {claim.name: claim.value for claim in cluster.status.cluster_claims}


def cluster_findings(seen: RunObservation, name: str, now: datetime) -> tuple[Finding, ...]:
    """Return the findings for one cluster."""
    case = ObservedCluster(seen, name, now)
    return tuple(finding for check in _CHECKS for finding in check(case))


def _membership(case: ObservedCluster) -> Iterator[Finding]:
    cluster = case.cluster
    if isinstance(case.seen.clusters, Unreadable):
        yield unknown("membership", case.seen.clusters.why)
    elif cluster is None:
        yield problem("membership", "the ManagedCluster does not exist", "register it: clusteradm join")
    elif not cluster.accepted:
        deleting = cluster.metadata.deleting
        detail = "the cluster is being deleted" if deleting else "not accepted by the hub"
        yield problem("membership", detail, f"clusteradm accept --clusters {case.name}")
    elif not cluster.available:
        remedy = (
            "check on that cluster that the klusterlet is running and reaches the hub: kubectl get pods --namespace "
            "open-cluster-management-agent"
        )
        yield problem("membership", "not available: the klusterlet does not report", remedy)
    else:
        yield ok("membership", "accepted and available")


def _addon(case: ObservedCluster) -> Iterator[Finding]:
    addon = case.addon
    if isinstance(case.seen.addons, Unreadable):
        yield unknown("add-on", case.seen.addons.why)
    elif addon is None:
        yield problem("add-on", "not enabled", enable_command([case.name]))
    else:
        conditions = addon.status.conditions
        for kind in ("ConfigurationAccepted", "ManifestApplied"):
            found = condition_of(conditions, kind)
            if found is not None and found.status == "False":
                yield problem("add-on", f"{kind}: {describe_condition(found)}", "see docs/enable.md for the remedy")
        available = condition_of(conditions, "Available")
        if available is not None and available.status == "True":
            yield ok("add-on", "enabled and available")
        else:
            detail = "the agent has not reported yet" if available is None else describe_condition(available)
            remedy = "see the agent's pod on that cluster and the check `certificate` below; docs/enable.md"
            yield problem("add-on", f"enabled, not available: {detail}", remedy)


def _certificate(case: ObservedCluster) -> Iterator[Finding]:
    if case.addon is None:
        return
    conditions = case.addon.status.conditions
    registered = condition_of(conditions, "RegistrationApplied")
    issued = condition_of(conditions, "ClusterCertificateRotated")
    if registered is None or registered.status != "True":
        detail = "not requested: the add-on is not registered" + (
            f" ({describe_condition(registered)})" if registered else ""
        )
        yield problem("certificate", detail, "check that the hub manager is running and that the cluster is accepted")
    elif issued is None:
        yield unknown("certificate", "not reported by the klusterlet yet")
    elif issued.status == "True":
        yield ok("certificate", "issued")
    else:
        yield problem("certificate", describe_condition(issued), "see docs/certificates.md for the reasons")


def _dataset(case: ObservedCluster) -> Iterator[Finding]:
    if case.cluster is None:
        return
    client = case.seen.run.spec.client
    if client.dataset:
        offered = datasets_in(case.claims)
        if client.dataset in offered:
            rows = offered[next(name for name in offered if name == client.dataset)].rows
            yield ok("dataset", f"{client.dataset} is published" + (f", {rows} rows" if rows is not None else ""))
            return
        others = ", ".join(sorted(offered)) or "none"
        detail = f"{client.dataset} is not published (published: {others})"
        remedy = f"a site administrator must create the Dataset {client.dataset} on that cluster (docs/datasets.md)"
        yield problem("dataset", detail, remedy)
    elif key := data_key(client.placement):
        if key in case.claims:
            yield ok("dataset", f"claim {key} is {case.claims[key]}")
        else:
            yield problem(
                "dataset",
                f"claim {key} is missing",
                "create the ClusterClaim on that cluster, or set spec.client.dataset",
            )


def _capacity(case: ObservedCluster) -> Iterator[Finding]:
    if case.cluster is None:
        return
    reserved = case.seen.run.spec.client.resources.reserved
    try:
        wanted = required_amounts(reserved)
    except ValueError as error:
        yield problem("capacity", f"spec.client.resources: {error}", "set a valid Kubernetes quantity")
        return
    short, unclaimed = [], []
    for claim, amount in wanted.items():
        value = case.claims.get(claim, "")
        if not value.isascii() or not value.isdecimal() or len(value) > 18:
            unclaimed.append(f"{amount} {_UNITS[claim]}")
        elif int(value) < amount:
            short.append(f"{amount} {_UNITS[claim]} requested, {value} available")
    if short:
        yield problem("capacity", "; ".join(short), "lower spec.client.resources, or add nodes to that cluster")
    elif unclaimed:
        detail = f"{', '.join(unclaimed)} requested, but the cluster has no claim for it"
        yield problem(
            "capacity", detail, "check that the add-on's agent is running on that cluster: it creates the claims"
        )
    else:
        yield ok("capacity", "sufficient for spec.client.resources" if wanted else _describe_uncompared(reserved))


def _describe_uncompared(reserved: Mapping[str, str | int]) -> str:
    """Describe requests that the Placement does not compare with claims (`required_amounts`)."""
    asked = ", ".join(f"{name} {amount}" for name, amount in reserved.items() if parse_quantity(str(amount)) > 0)
    if not asked:
        return "spec.client.resources requests nothing"
    compared = f"whole cores, GiB of memory, {' and '.join(GPU_RESOURCES)}"
    return f"requested: {asked}; only {compared} are compared, so this excludes no cluster"


def _selected(case: ObservedCluster) -> Iterator[Finding]:
    seen = case.seen
    if isinstance(seen.selected, Unreadable):
        yield unknown("selected", seen.selected.why)
        return
    if case.name in seen.selected:
        yield ok("selected", "selected by the Placement")
        return
    placement = seen.run.spec.client.placement
    sets = tuple(placement.get("clusterSets") or ())
    if case.cluster is None:
        return
    own = case.cluster.metadata.labels.get(SET_LABEL, "")
    if sets and GLOBAL_SET not in sets and own not in sets:
        detail = f"in cluster set {own or '(none)'}; the Placement selects from {', '.join(sets)}"
        yield problem("selected", detail, f"clusteradm clusterset set {sets[0]} --clusters {case.name}")
        return
    taints = [t.key for t in case.cluster.spec.taints if not _tolerated(t, placement.get("tolerations") or ())]
    if taints:
        detail = f"tainted: {', '.join(taints)}"
        yield problem("selected", detail, "restore the cluster, or tolerate the taint in spec.client.placement")
        return
    remedy = "see `dataset` and `capacity`; if both are ok, predicates or numberOfClusters exclude the cluster"
    yield unknown("selected", "not selected by the Placement", remedy)


def _tolerated(taint: ClusterTaint, tolerations: tuple[dict[str, Any], ...] | list[dict[str, Any]]) -> bool:
    """Report whether the taint excludes no cluster or is tolerated (OCM API `cluster/v1beta1`, Toleration)."""
    if taint.effect == "PreferNoSelect":
        return True
    for toleration in tolerations:
        key, operator = toleration.get("key", ""), toleration.get("operator") or "Equal"
        same = operator == "Exists" or toleration.get("value", "") == taint.value
        effect = toleration.get("effect", "")
        if key in {"", taint.key} and same and effect in {"", taint.effect}:
            return True
    return False


def _work(case: ObservedCluster) -> Iterator[Finding]:
    seen = case.seen
    if seen.ended or (
        not isinstance(seen.selected, Unreadable) and case.name not in seen.selected and not _member(case)
    ):
        return
    if isinstance(seen.works, Unreadable):
        yield unknown("work", seen.works.why)
        return
    work = find_work(seen.works, work_name(seen.run, seen.run.status.attempt), case.name)
    if work is None:
        remedy = "fix the problems of the run above"
        yield unknown("work", "the hub manager has not created the ManifestWork yet", "" if seen.started else remedy)
        return
    applied = condition_of(work.status.conditions, APPLIED)
    if applied is None:
        yield unknown("work", "the work agent has not applied the ManifestWork yet", "see `membership`")
    elif applied.status == "False":
        remedy = "the work agent lacks a permission or the add-on's CRDs: see `add-on`"
        yield problem("work", f"the work agent can't apply the ManifestWork: {describe_condition(applied)}", remedy)
    else:
        yield from _collaborator(case, collaborator_report(work, seen.run))


def _member(case: ObservedCluster) -> bool:
    return case.name in case.seen.run.status.cohort


def _collaborator(case: ObservedCluster, report: CollaboratorReport | None) -> Iterator[Finding]:
    """Check the state that the collaborator reports."""
    name = case.seen.run.metadata.name
    if report is None:
        yield unknown("collaborator", "no response yet", "see `add-on`: the agent responds")
        return
    state = f"{report.state} ({report.reason})"
    own = f"{state}: {report.message}" if report.message else state
    logs = f"kubectl fl logs {name} --cluster {case.name}"
    match report.state:
        case CollaboratorState.PENDING:
            command = approval_command(report.message)
            remedy = f"on that cluster: {command}" if command else "a site administrator must approve the request"
            yield problem(
                "collaborator", "Pending: a site administrator must approve the request" if command else own, remedy
            )
        case CollaboratorState.REFUSED:
            yield problem(
                "collaborator", own, f"see {report.reason} in docs/collaborators.md; ask the site administrator"
            )
        case CollaboratorState.FAILED | CollaboratorState.RETRYING:
            place = f" at {report.file}:{report.line}" if report.file else ""
            yield problem("collaborator", f"{own}{place}, {report.restarts} failed", logs)
        case CollaboratorState.STARTING:
            yield unknown("collaborator", own, logs if report.message else "")
        case CollaboratorState.ACCEPTED | CollaboratorState.SUCCEEDED:
            yield ok("collaborator", own)
        case CollaboratorState.RUNNING:
            yield ok("collaborator", own)
            yield _connection(case)
        case _:
            yield unknown("collaborator", own)


def _connection(case: ObservedCluster) -> Finding:
    """Check whether a running collaborator has reached the aggregator."""
    status = case.seen.run.status
    last = next((c.last_seen for c in status.clusters if c.name == case.name), "")
    if last:
        return ok("connection", f"last seen by the aggregator {format_age(last, case.now)}")
    where = ", ".join(f"{listener.address}:{listener.port}" for listener in status.listeners) or "its address"
    remedy = f"check that the cluster may connect to {where} (firewall, proxy), then kubectl fl logs --cluster"
    return problem("connection", "the collaborator is running but has not reached the aggregator", remedy)


_CHECKS: Final[tuple[Callable[[ObservedCluster], Iterator[Finding]], ...]] = (
    _membership,
    _addon,
    _certificate,
    _dataset,
    _capacity,
    _selected,
    _work,
)
