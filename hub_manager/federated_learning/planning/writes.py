"""Compare the objects that a run needs with those that exist, and plan the writes between them.

An object is current if it bears the digest of the body rendered for it. Fields that the server defaults do not matter,
and a settled run writes nothing.
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
from hub_manager.federated_learning.site import RunCluster

CERTIFIED_ANNOTATION: Final = f"{FEDERATION_GROUP}/certified"
"""Annotation of the run's ConfigMap: digest of the inputs of the certificate in its Secret."""
RENEW_ANNOTATION: Final = f"{FEDERATION_GROUP}/renew-certificate-at"
"""Annotation of the run's ConfigMap: when to renew the certificate, RFC 3339. The Secret is not watched, because the
right to list Secrets would allow reading every Secret of the hub."""


SHARED_KINDS: Final = (PERSISTENT_VOLUME_CLAIM, MANIFEST_WORK)
"""Kinds that may have another owner: the user may provide the claim, and a ManifestWork's name is unique to its run."""


def ensure(kind: Kind[Any], present: Resource | None, body: Json, fallback: Json | None = None) -> Iterator[Action]:
    """Apply the body unless the object is current; wait for an object that is being deleted."""
    if present is not None and present.metadata.deleting:
        return
    if not is_current(present, body):
        yield _apply(kind, body, fallback)


def claim(observed: ObservedRun) -> Iterator[Action]:
    """Create the volume claim if it is missing; an existing one is kept, because its data is the user's."""
    if observed.run.spec.server.storage.type == "PersistentVolumeClaim" and observed.claim is None:
        body = aggregator.volume_claim(observed.run)
        yield _apply(PERSISTENT_VOLUME_CLAIM, body)


def services(observed: ObservedRun) -> Iterator[Action]:
    """Apply a Service for each listener, and delete those of removed listeners."""
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
    """Apply everything that the aggregator's pod refers to, except its certificate."""
    run = observed.run
    yield from ensure(SERVICE_ACCOUNT, observed.service_account, aggregator.service_account(run))
    # The hub manager may create Roles but not change them; the rules of a run never change.
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
        # Two cohorts must not share a generation, so the server rejects a body rendered from an outdated ConfigMap.
        body["metadata"]["resourceVersion"] = known.metadata.resource_version
    yield from ensure(CONFIG_MAP, known, body)


def aggregator_writes(observed: ObservedRun, attempt: int, settings: RunSettings) -> Iterator[Action]:
    """Create the aggregator's Job once; afterwards only suspend or resume it, because its template is immutable."""
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
    """Issue a certificate if these names have none from this authority, or if its renewal is due.

    The issuance is recorded on the run's ConfigMap, which therefore has to exist first.
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
    """Return the digest of the certificate's inputs: names, authority and trust bundle."""
    authority = observed.authority
    made_of = {
        "names": certificate_names(observed.run, listeners),
        "authority": "" if authority is None else authority.fingerprint,
        "bundle": "" if authority is None else authority.bundle,
    }
    return digest_of(made_of)


def renewal(observed: ObservedRun) -> datetime | None:
    """Return when to renew the certificate; None if renewal is due or the annotation is invalid."""
    existing = observed.config_map
    text = "" if existing is None else existing.metadata.annotations.get(RENEW_ANNOTATION, "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment > observed.now else None


def plan_copy(observed: ObservedRun, training_plan: TrainingPlanState) -> Iterator[Action]:
    """Create the immutable copy of the plan's text; delete a copy of another text first."""
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
    """Apply a ManifestWork of this attempt for each of the clusters, and delete all others of the run.

    Only members get the aggregator's address: it would reject any other cluster permanently.
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
    """Delete every ManifestWork of the run, except those of this name in the namespaces to keep."""
    for sent in observed.works:
        wanted = sent.metadata.name == name and sent.metadata.namespace in keep and _is_accepted(observed, sent)
        if not wanted and not sent.metadata.deleting:
            yield Delete(MANIFEST_WORK, key_of(sent), sent.metadata.uid)


def stale_job(observed: ObservedRun, attempt: int) -> Iterator[Action]:
    """Delete the Job of an earlier attempt, because the next attempt reuses its name."""
    present = observed.job
    if present is not None and observed.job_of(attempt) is None and not present.metadata.deleting:
        yield Delete(JOB, key_of(present), present.metadata.uid, "Foreground")


def stop_aggregator(observed: ObservedRun) -> Iterator[Action]:
    """Suspend the aggregator of an ended run; its Job is kept for diagnosis."""
    present = observed.job
    if present is not None and not present.ended and not present.spec.suspend and not present.metadata.deleting:
        yield Patch(JOB, key_of(present), {"spec": {"suspend": True}})


def remaining_objects(observed: ObservedRun) -> Iterator[Action]:
    """Delete the objects of an ended run on the hub, except its volume and its unused Role."""
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
        # The Secret is not watched; the ConfigMap records that it exists.
        yield Delete(SECRET, secret_key(run), "")
        yield Delete(CONFIG_MAP, key_of(observed.config_map), observed.config_map.metadata.uid)


def listener_services(observed: ObservedRun) -> tuple[Any, ...]:
    """Return the Service of each listener, None for a missing one."""
    run = observed.run
    return tuple(observed.service(server_name(run, place)) for place in range(len(run.spec.server.listeners)))


def collaborator_addresses(listeners: tuple[ListenerStatus, ...], *, suspended: bool) -> tuple[Address, ...]:
    """Return the addresses for collaborators; none while the run is suspended."""
    return () if suspended else addresses(listeners)


def _is_accepted(observed: ObservedRun, sent: Resource) -> bool:
    site: RunCluster | None = observed.sites.get(sent.metadata.namespace)
    return site is not None and site.accepted


def _key(body: Json) -> ObjectKey:
    return ObjectKey(body["metadata"]["namespace"], body["metadata"]["name"])


def _apply(kind: Kind[Any], body: Json, fallback: Json | None = None) -> Apply:
    return Apply(kind, _key(body), body, fallback=fallback, owner=None if kind in SHARED_KINDS else _owner(body))


def _owner(body: Json) -> OwnerLabel:
    return OwnerLabel(RUN_UID_LABEL, body["metadata"]["labels"][RUN_UID_LABEL])
