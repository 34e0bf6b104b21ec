"""From the objects that a run wants and those that are there to the writes between them.

An object is recognised by the digest that it was rendered with: what the server defaults doesn't matter, and a settled
run writes nothing.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from federation.api.aggregator_run import RUN_FILE, Cohort
from federation.api.collaborator import RunPlan
from federation.api.meta import FEDERATION_GROUP
from federation.api.run_status import FederatedLearningStatus, ListenerStatus
from federation.kube.actions import Action, Apply, Create, Delete, OwnerLabel, Patch
from federation.kube.kinds import (
    CONFIG_MAP,
    JOB,
    MANIFEST_WORK,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    PLACEMENT,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from federation.kube.resource import Json, Kind, ObjectKey, Resource, key_of
from hub_manager.federated_learning.actions import IssueCertificate
from hub_manager.federated_learning.observation.observed import ObservedRun
from hub_manager.federated_learning.planning.cohort import dataset_of
from hub_manager.federated_learning.planning.training_plan import KnownPlan, TrainingPlanState
from hub_manager.federated_learning.resources import aggregator
from hub_manager.federated_learning.resources.aggregator_job import job
from hub_manager.federated_learning.resources.listeners import addresses, certificate_names
from hub_manager.federated_learning.resources.manifest_work import Address, work
from hub_manager.federated_learning.resources.names import (
    ATTEMPT_LABEL,
    RUN_UID_LABEL,
    digest_of,
    is_current,
    secret_key,
    server_name,
    work_name,
)
from hub_manager.federated_learning.settings import RunSettings
from hub_manager.federated_learning.site import ObservedSite

CERTIFIED_ANNOTATION: Final = f"{FEDERATION_GROUP}/certified"
"""On the run's ConfigMap: the digest of what the certificate in its Secret was made of."""
RENEW_ANNOTATION: Final = f"{FEDERATION_GROUP}/renew-certificate-at"
"""On the run's ConfigMap: when the certificate is to be made anew, RFC 3339. Secrets are not watched: the
right to list them would be one to read every Secret of the hub."""


SHARED_KINDS: Final = (PERSISTENT_VOLUME_CLAIM, MANIFEST_WORK)
"""Kinds of which another's object is no obstacle: a claim may be the user's, a work's name is unique to its run."""


def ensure(kind: Kind[Any], present: Resource | None, body: Json, fallback: Json | None = None) -> Iterator[Action]:
    """The write that makes the object what it has to be; one that is on its way out is waited for."""
    if present is not None and present.metadata.deleting:
        return
    if not is_current(present, body):
        yield _apply(kind, body, fallback)


def claim(observed: ObservedRun) -> Iterator[Action]:
    """The volume's claim, where there is none of the name: what is in it is the user's, whoever made it."""
    if observed.run.spec.server.storage.type == "PersistentVolumeClaim" and observed.claim is None:
        body = aggregator.volume_claim(observed.run)
        yield _apply(PERSISTENT_VOLUME_CLAIM, body)


def services(observed: ObservedRun) -> Iterator[Action]:
    """A Service for each listener; those of listeners that are gone go."""
    run = observed.run
    wanted = set()
    for place in range(len(run.spec.server.listeners)):
        body = aggregator.service(run, place)
        wanted.add(body["metadata"]["name"])
        plain = aggregator.service(run, place, node_port=False)
        plain["metadata"]["annotations"] = body["metadata"]["annotations"]
        yield from ensure(SERVICE, observed.service(body["metadata"]["name"]), body, plain)
    for service in observed.services:
        if service.metadata.name not in wanted and not service.metadata.deleting:
            yield Delete(SERVICE, key_of(service), service.metadata.uid)


def prerequisites(observed: ObservedRun, attempt: FederatedLearningStatus, cohort: Cohort) -> Iterator[Action]:
    """Everything that the aggregator's pod refers to, but its certificate."""
    run = observed.run
    yield from ensure(SERVICE_ACCOUNT, observed.service_account, aggregator.service_account(run))
    # The manager may not change Roles, only make them: what they say of a run never changes.
    for kind, existing, body in (
        (ROLE, observed.role, aggregator.role(run)),
        (ROLE_BINDING, observed.role_binding, aggregator.role_binding(run)),
    ):
        if existing is None:
            yield Create(kind, _key(body), body, _owner(body))
    policy = aggregator.network_policy(run, observed.api_server)
    yield from ensure(NETWORK_POLICY, observed.network_policy, policy)
    known, present = observed.config_map, observed.job_of(attempt.attempt)
    kept = ""
    if known is not None and present is not None and known.metadata.labels.get(ATTEMPT_LABEL) == str(attempt.attempt):
        kept = known.data.get(RUN_FILE, "")
    body = aggregator.config_map(run, attempt.attempt, cohort, kept)
    if known is not None:
        # Two cohorts must not get one generation: what was rendered from an older version than the present is refused.
        body["metadata"]["resourceVersion"] = known.metadata.resource_version
    yield from ensure(CONFIG_MAP, known, body)


def aggregator_writes(observed: ObservedRun, attempt: int, settings: RunSettings) -> Iterator[Action]:
    """The aggregator's Job: made once, and then only suspended or not; its template never changes."""
    run = observed.run
    present = observed.job_of(attempt)
    if present is not None:
        if present.spec.suspend != run.spec.suspend and not present.metadata.deleting:
            yield Patch(JOB, key_of(present), {"spec": {"suspend": run.spec.suspend}})
        return
    yield from stale_job(observed, attempt)
    existing = observed.config_map
    has_certificate = existing is not None and CERTIFIED_ANNOTATION in existing.metadata.annotations
    if observed.job is None and not run.spec.suspend and has_certificate:
        body = job(run, attempt, settings.images)
        yield _apply(JOB, body)


def certificate(observed: ObservedRun, listeners: tuple[ListenerStatus, ...]) -> Iterator[IssueCertificate]:
    """A new certificate, where there is none for these names from this authority, or it is due.

    It is recorded on the run's ConfigMap, which therefore has to be there, and to be this run's.
    """
    authority, existing = observed.authority, observed.config_map
    if authority is None or existing is None:
        return
    names = certificate_names(observed.run, listeners)
    digest = certificate_digest(observed, listeners)
    if existing.metadata.annotations.get(CERTIFIED_ANNOTATION) == digest and renewal(observed) is not None:
        return
    metadata = aggregator.certificate_metadata(observed.run)
    yield IssueCertificate(secret_key(observed.run), key_of(existing), names, metadata, digest)


def certificate_digest(observed: ObservedRun, listeners: tuple[ListenerStatus, ...]) -> str:
    """What the certificate is made of: names, authority and bundle."""
    authority = observed.authority
    made_of = {
        "names": certificate_names(observed.run, listeners),
        "authority": "" if authority is None else authority.fingerprint,
        "bundle": "" if authority is None else authority.bundle,
    }
    return digest_of(made_of)


def renewal(observed: ObservedRun) -> datetime | None:
    """When the certificate has to be made anew; None where that is now, or somebody has overwritten it."""
    existing = observed.config_map
    text = "" if existing is None else existing.metadata.annotations.get(RENEW_ANNOTATION, "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment > observed.now else None


def plan_copy(observed: ObservedRun, training_plan: TrainingPlanState) -> Iterator[Action]:
    """The copy of the plan's text that the attempt goes by; that of another text goes first, as none can be changed."""
    existing = observed.plan_copy
    if existing is not None and existing.metadata.deleting:
        return
    match training_plan:
        case KnownPlan(plan=RunPlan(text=text)) if text:
            if existing is None:
                body = aggregator.plan_copy(observed.run, text)
                yield _apply(CONFIG_MAP, body)
            elif not training_plan.copied:
                yield Delete(CONFIG_MAP, key_of(existing), existing.metadata.uid)
        case KnownPlan() if existing is not None:
            yield Delete(CONFIG_MAP, key_of(existing), existing.metadata.uid)
        case _:
            pass


def works(
    observed: ObservedRun,
    attempt: FederatedLearningStatus,
    clusters: tuple[str, ...],
    collaborator_addresses: tuple[Address, ...],
    plan: RunPlan | None,
) -> Iterator[Action]:
    """A work for each of these clusters and for no other, of this attempt and of no other.

    Members alone are told where the aggregator is: it would refuse anybody else for good.
    """
    run = observed.run
    name = work_name(run, attempt.attempt)
    present = {w.metadata.namespace: w for w in observed.works if w.metadata.name == name}
    for cluster in clusters:
        site, sent, member = observed.sites.get(cluster), present.get(cluster), cluster in attempt.cohort
        if site is None or not site.accepted:
            continue
        dataset = dataset_of(run, site, sent if member else None)
        if dataset is not None:
            body = work(run, attempt.attempt, site, dataset, collaborator_addresses if member else (), plan)
            yield from ensure(MANIFEST_WORK, sent, body)
    yield from removed_works(observed, keep=frozenset(clusters), name=name)


def removed_works(observed: ObservedRun, *, keep: frozenset[str] = frozenset(), name: str = "") -> Iterator[Action]:
    """The end of every work of the run but those of this name in these clusters' namespaces."""
    for found in observed.works:
        wanted = found.metadata.name == name and found.metadata.namespace in keep and _is_accepted(observed, found)
        if not wanted and not found.metadata.deleting:
            yield Delete(MANIFEST_WORK, key_of(found), found.metadata.uid)


def stale_job(observed: ObservedRun, attempt: int) -> Iterator[Action]:
    """The end of an earlier attempt's Job; the next one's has the same name."""
    found = observed.job
    if found is not None and observed.job_of(attempt) is None and not found.metadata.deleting:
        yield Delete(JOB, key_of(found), found.metadata.uid, "Foreground")


def stop_aggregator(observed: ObservedRun) -> Iterator[Action]:
    """An ended run's aggregator runs no more; its Job stays, for whoever looks for the cause."""
    found = observed.job
    if found is not None and not found.ended and not found.spec.suspend and not found.metadata.deleting:
        yield Patch(JOB, key_of(found), {"spec": {"suspend": True}})


def remaining_objects(observed: ObservedRun) -> Iterator[Action]:
    """The end of all that an ended run has on the hub, but the volume, and the Role that nobody has any more."""
    run = observed.run
    present: list[tuple[Kind[Any], Resource | None]] = [
        (JOB, observed.job),
        *((SERVICE, service) for service in observed.services),
        (NETWORK_POLICY, observed.network_policy),
        (SERVICE_ACCOUNT, observed.service_account),
        (PLACEMENT, observed.placement),
        (CONFIG_MAP, observed.plan_copy),
    ]
    for kind, resource in present:
        if resource is not None and not resource.metadata.deleting:
            yield Delete(kind, key_of(resource), resource.metadata.uid, "Foreground" if kind is JOB else "Background")
    if observed.config_map is not None and not observed.config_map.metadata.deleting:
        # The Secret is not watched: it goes with the ConfigMap that records it.
        yield Delete(SECRET, secret_key(run), "")
        yield Delete(CONFIG_MAP, key_of(observed.config_map), observed.config_map.metadata.uid)


def listener_services(observed: ObservedRun) -> tuple[Any, ...]:
    """The Service of each listener, None where it is not there."""
    run = observed.run
    return tuple(observed.service(server_name(run, place)) for place in range(len(run.spec.server.listeners)))


def collaborator_addresses(listeners: tuple[ListenerStatus, ...], *, suspended: bool) -> tuple[Address, ...]:
    """Where sites dial; nowhere while the run is suspended."""
    return () if suspended else addresses(listeners)


def _is_accepted(observed: ObservedRun, found: Resource) -> bool:
    site: ObservedSite | None = observed.sites.get(found.metadata.namespace)
    return site is not None and site.accepted


def _key(body: Json) -> ObjectKey:
    return ObjectKey(body["metadata"]["namespace"], body["metadata"]["name"])


def _apply(kind: Kind[Any], body: Json, fallback: Json | None = None) -> Apply:
    return Apply(kind, _key(body), body, fallback=fallback, owner=None if kind in SHARED_KINDS else _owner(body))


def _owner(body: Json) -> OwnerLabel:
    return OwnerLabel(RUN_UID_LABEL, body["metadata"]["labels"][RUN_UID_LABEL])
