"""What is looked at of one cluster: whether it is a member, can take the run, and has answered. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from federation.api.addon import ManagedClusterAddOn
from federation.api.claims import (
    CPU_CLAIM,
    GPU_CLAIM,
    GPU_RESOURCES,
    MEMORY_CLAIM,
    data_key,
    datasets_in,
    required_amounts,
)
from federation.api.cluster import ManagedCluster, Taint
from federation.api.collaborator import CollaboratorState
from federation.api.meta import condition_of
from federation.api.quantity import parse_quantity
from federation.api.run_names import work_name
from federation.api.work import APPLIED
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
"""OCM's set of every cluster."""
_UNITS: Final = {CPU_CLAIM: "cores", MEMORY_CLAIM: "GiB of memory", GPU_CLAIM: "GPUs"}


@dataclass(frozen=True, slots=True)
class ObservedCluster:
    """One cluster of what was seen."""

    seen: RunObservation
    name: str
    now: datetime

    @property
    def cluster(self) -> ManagedCluster | None:
        """The hub's ManagedCluster."""
        return next((c for c in readable(self.seen.clusters) if c.name == self.name), None)

    @property
    def addon(self) -> ManagedClusterAddOn | None:
        """Its add-on."""
        return next((a for a in readable(self.seen.addons) if a.cluster == self.name), None)

    @property
    def claims(self) -> dict[str, str]:
        """What it claims, name to value."""
        cluster = self.cluster
        return {} if cluster is None else {claim.name: claim.value for claim in cluster.status.cluster_claims}


def cluster_findings(seen: RunObservation, name: str, now: datetime) -> tuple[Finding, ...]:
    """What is found of one cluster."""
    case = ObservedCluster(seen, name, now)
    return tuple(finding for check in _CHECKS for finding in check(case))


def _membership(case: ObservedCluster) -> Iterator[Finding]:
    cluster = case.cluster
    if isinstance(case.seen.clusters, Unreadable):
        yield unknown("membership", case.seen.clusters.why)
    elif cluster is None:
        yield problem("membership", "the hub has no ManagedCluster of the name", "register it: clusteradm join")
    elif not cluster.accepted:
        deleting = cluster.metadata.deleting
        said = "it is being deleted" if deleting else "the hub does not accept it"
        yield problem("membership", said, f"clusteradm accept --clusters {case.name}")
    elif not cluster.available:
        remedy = (
            "see there that its klusterlet runs and reaches the hub: kubectl get pods --namespace "
            "open-cluster-management-agent"
        )
        yield problem("membership", "it is not available: its klusterlet is not heard of", remedy)
    else:
        yield ok("membership", "accepted and available")


def _addon(case: ObservedCluster) -> Iterator[Finding]:
    addon = case.addon
    if isinstance(case.seen.addons, Unreadable):
        yield unknown("add-on", case.seen.addons.why)
    elif addon is None:
        yield problem("add-on", "it is not enabled", enable_command([case.name]))
    else:
        conditions = addon.status.conditions
        for kind in ("ConfigurationAccepted", "ManifestApplied"):
            found = condition_of(conditions, kind)
            if found is not None and found.status == "False":
                yield problem(
                    "add-on", f"{kind}: {describe_condition(found)}", "docs/enable.md has the remedy for each reason"
                )
        available = condition_of(conditions, "Available")
        if available is not None and available.status == "True":
            yield ok("add-on", "enabled and available")
        else:
            said = "nothing is heard of its agent yet" if available is None else describe_condition(available)
            remedy = "see the agent's pod there, and the line `certificate` below; docs/enable.md"
            yield problem("add-on", f"enabled, not available: {said}", remedy)


def _certificate(case: ObservedCluster) -> Iterator[Finding]:
    if case.addon is None:
        return
    conditions = case.addon.status.conditions
    registered = condition_of(conditions, "RegistrationApplied")
    issued = condition_of(conditions, "ClusterCertificateRotated")
    if registered is None or registered.status != "True":
        said = "not asked for: the registration is not in place" + (
            f" ({describe_condition(registered)})" if registered else ""
        )
        yield problem("certificate", said, "see that the hub manager runs, and that the cluster is accepted")
    elif issued is None:
        yield unknown("certificate", "the klusterlet has not said anything of it yet")
    elif issued.status == "True":
        yield ok("certificate", "issued")
    else:
        yield problem(
            "certificate", describe_condition(issued), "docs/certificates.md has the reasons for which none is given"
        )


def _dataset(case: ObservedCluster) -> Iterator[Finding]:
    if case.cluster is None:
        return
    client = case.seen.run.spec.client
    if client.dataset:
        offered = datasets_in(case.claims)
        if client.dataset in offered:
            rows = offered[next(name for name in offered if name == client.dataset)].rows
            yield ok("dataset", f"{client.dataset} is offered" + (f", {rows} rows" if rows is not None else ""))
            return
        others = ", ".join(sorted(offered)) or "none"
        said = f"{client.dataset} is not offered (offered: {others})"
        remedy = (
            f"someone at the site makes the Dataset {client.dataset} (docs/datasets.md); kubectl get datasets there"
        )
        yield problem("dataset", said, remedy)
    elif key := data_key(client.placement):
        if key in case.claims:
            yield ok("dataset", f"the claim {key} names {case.claims[key]}")
        else:
            yield problem(
                "dataset", f"it has no claim {key}", "make the ClusterClaim there, or set spec.client.dataset"
            )


def _capacity(case: ObservedCluster) -> Iterator[Finding]:
    if case.cluster is None:
        return
    reserved = case.seen.run.spec.client.resources.reserved
    try:
        wanted = required_amounts(reserved)
    except ValueError as error:
        yield problem("capacity", f"spec.client.resources: {error}", "write a quantity")
        return
    short, unclaimed = [], []
    for claim, amount in wanted.items():
        value = case.claims.get(claim, "")
        if not value.isascii() or not value.isdecimal() or len(value) > 18:
            unclaimed.append(f"{amount} {_UNITS[claim]}")
        elif int(value) < amount:
            short.append(f"{amount} {_UNITS[claim]} are asked for, {value} are there")
    if short:
        yield problem("capacity", "; ".join(short), "lower spec.client.resources, or add nodes there")
    elif unclaimed:
        said = f"{', '.join(unclaimed)} are asked for, and the cluster claims nothing of it"
        yield problem("capacity", said, "see that the add-on's agent runs there: it makes the claims")
    else:
        yield ok(
            "capacity", "enough for what spec.client.resources asks for" if wanted else _describe_uncompared(reserved)
        )


def _describe_uncompared(reserved: Mapping[str, str | int]) -> str:
    """What is said of amounts for which the placement leaves no cluster out (`required_amounts`)."""
    asked = ", ".join(f"{name} {amount}" for name, amount in reserved.items() if parse_quantity(str(amount)) > 0)
    if not asked:
        return "nothing is asked for in spec.client.resources"
    compared = f"whole cores, GiB of memory, {' and '.join(GPU_RESOURCES)}"
    return f"asked for: {asked}; only {compared} are compared, so no cluster is left out for it"


def _selected(case: ObservedCluster) -> Iterator[Finding]:
    seen = case.seen
    if isinstance(seen.selected, Unreadable):
        yield unknown("selected", seen.selected.why)
        return
    if case.name in seen.selected:
        yield ok("selected", "the placement has chosen it")
        return
    placement = seen.run.spec.client.placement
    sets = tuple(placement.get("clusterSets") or ())
    if case.cluster is None:
        return
    own = case.cluster.metadata.labels.get(SET_LABEL, "")
    if sets and GLOBAL_SET not in sets and own not in sets:
        said = f"it is in the set {own or '(none)'}, the placement chooses from {', '.join(sets)}"
        yield problem("selected", said, f"clusteradm clusterset set {sets[0]} --clusters {case.name}")
        return
    taints = [t.key for t in case.cluster.spec.taints if not _tolerated(t, placement.get("tolerations") or ())]
    if taints:
        said = f"it has the taint {', '.join(taints)}"
        yield problem("selected", said, "make it healthy again, or tolerate the taint in spec.client.placement")
        return
    remedy = "see `dataset` and `capacity`; if both are ok, its predicates or numberOfClusters leave the cluster out"
    yield unknown("selected", "the placement has not chosen it", remedy)


def _tolerated(taint: Taint, tolerations: tuple[dict[str, Any], ...] | list[dict[str, Any]]) -> bool:
    """Whether a toleration covers the taint, or it does not keep out (OCM API `cluster/v1beta1`, Toleration)."""
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
        yield unknown("asked", seen.works.why)
        return
    work = find_work(seen.works, work_name(seen.run, seen.run.status.attempt), case.name)
    if work is None:
        remedy = "mend what is found for the run above"
        yield unknown("asked", "the hub manager has not asked it yet", "" if seen.started else remedy)
        return
    applied = condition_of(work.status.conditions, APPLIED)
    if applied is None:
        yield unknown("asked", "the cluster's work agent has not taken the work yet", "see `membership`")
    elif applied.status == "False":
        remedy = "the work agent there lacks a right, or the add-on's resource definitions: see `add-on`"
        yield problem("asked", f"its work agent can't apply the work: {describe_condition(applied)}", remedy)
    else:
        yield from _collaborator(case, collaborator_report(work, seen.run))


def _member(case: ObservedCluster) -> bool:
    return case.name in case.seen.run.status.cohort


def _collaborator(case: ObservedCluster, said: CollaboratorReport | None) -> Iterator[Finding]:
    """The site's answer, in its own words."""
    name = case.seen.run.metadata.name
    if said is None:
        yield unknown("answer", "asked, and no answer yet", "see `add-on`: its agent answers")
        return
    own = f"{said.state} ({said.reason}): {said.message}" if said.message else f"{said.state} ({said.reason})"
    logs = f"kubectl fl logs {name} --cluster {case.name}"
    match said.state:
        case CollaboratorState.PENDING:
            command = approval_command(said.message)
            remedy = f"at the site: {command}" if command else "someone at the site has to approve it"
            yield problem("answer", "Pending: someone at the site has to approve it" if command else own, remedy)
        case CollaboratorState.REFUSED:
            yield problem(
                "answer", own, f"docs/collaborators.md has what {said.reason} means; ask the site's administrator"
            )
        case CollaboratorState.FAILED | CollaboratorState.RETRYING:
            place = f" at {said.file}:{said.line}" if said.file else ""
            yield problem("answer", f"{own}{place}, {said.restarts} failed", logs)
        case CollaboratorState.STARTING:
            yield unknown("answer", own, logs if said.message else "")
        case CollaboratorState.ACCEPTED | CollaboratorState.SUCCEEDED:
            yield ok("answer", own)
        case CollaboratorState.RUNNING:
            yield ok("answer", own)
            yield _connection(case)
        case _:
            yield unknown("answer", own)


def _connection(case: ObservedCluster) -> Finding:
    """Whether a collaborator that runs has reached the aggregator."""
    status = case.seen.run.status
    last = next((c.last_seen for c in status.clusters if c.name == case.name), "")
    if last:
        return ok("connection", f"the aggregator heard of it {format_age(last, case.now)}")
    where = ", ".join(f"{listener.address}:{listener.port}" for listener in status.listeners) or "its address"
    remedy = f"see that the site may connect out to {where} (firewall, proxy), and its log: kubectl fl logs --cluster"
    return problem("connection", "its collaborator runs, and the aggregator has not heard of it", remedy)


_CHECKS: Final[tuple[Callable[[ObservedCluster], Iterator[Finding]], ...]] = (
    _membership,
    _addon,
    _certificate,
    _dataset,
    _capacity,
    _selected,
    _work,
)
