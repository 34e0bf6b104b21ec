"""Reconcile each request: observe, decide, act.

Decisions are based on the stores. The write is based on the object on the API server, and requires that its status has
not changed since. Approvals and certificates are PUTs with a resourceVersion, so only one of two managers succeeds.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never

import msgspec
import structlog

from federation.api.identity import ADDON_NAME, CLUSTER_LABEL
from federation.api.kubernetes.certificates import APPROVED, DENIED, FAILED, CertificateSigningRequest
from federation.api.ocm.addon import ClusterManagementAddOn, ManagedClusterAddOn
from federation.api.ocm.cluster import ManagedCluster
from federation.kube.api import Api
from federation.kube.conditions import rfc3339
from federation.kube.errors import Conflict, NotFound, Terminal
from federation.kube.kinds import CERTIFICATE_SIGNING_REQUEST
from federation.kube.resource import Json, ObjectKey
from federation.kube.store import Store
from federation.pki.certificate import certificate_pem
from federation.pki.csr import MalformedRequest, Request, parse_request
from hub_manager.certificates.decision_recorder import CertificateMetrics, DecisionRecorder
from hub_manager.certificates.requests.decision import Approve, Decision, Deny, Fail, Issue, Leave, Remove, Wait, decide
from hub_manager.certificates.requests.policy import POLICIES, Input, concerns_us
from hub_manager.certificates.requests.refusal import CertificateRefusal
from hub_manager.certificates.requests.requester import Drivers, requesting_cluster
from hub_manager.certificates.requests.validator import Expectation, find_problems
from hub_manager.certificates.settings import CertificateSettings
from hub_manager.certificates.signer.authority import Authority, may_sign
from hub_manager.certificates.signer.issuing import AuthorityRunsOut, CertificateLifetime, issue, validity

log = structlog.get_logger(__name__)

BY_CLUSTER: Final = "cluster"
"""Index of requests by the cluster that their label names."""

BY_REQUESTER: Final = "requester"
"""Index of requests by the authenticated cluster that made them; by label, one cluster could use up another's limit."""

GRANTED: Final = "PolicyHolds"
"""The reason of an approval."""

NO_AUTHORITY_RETRY: Final = 30.0
"""Seconds; a change of the slots' Secret usually comes first."""


class Misissued(Terminal):
    """The validator found a problem in a signed certificate, which is discarded; an administrator must investigate."""


def request_indexes(drivers: Drivers) -> Mapping[str, Callable[[CertificateSigningRequest], Iterable[str]]]:
    """Return the indexes that the requests' store needs."""

    def by_cluster(csr: CertificateSigningRequest) -> Iterable[str]:
        return (csr.metadata.labels.get(CLUSTER_LABEL, ""),) if concerns_us(csr) else ()

    def by_requester(csr: CertificateSigningRequest) -> Iterable[str]:
        cluster = requesting_cluster(csr, drivers)
        return (cluster,) if cluster is not None and concerns_us(csr) else ()

    return {BY_CLUSTER: by_cluster, BY_REQUESTER: by_requester}


@dataclass(frozen=True, slots=True)
class CertificateStores:
    """The stores of the hub's objects; `requests` has the indexes of `request_indexes`."""

    requests: Store[CertificateSigningRequest]
    clusters: Store[ManagedCluster]
    addons: Store[ManagedClusterAddOn]
    cluster_management_addons: Store[ClusterManagementAddOn]


@dataclass(frozen=True, slots=True)
class CertificateDependencies:
    """Dependencies besides the API server."""

    clock: Callable[[], datetime]
    serial: Callable[[], int]
    """Returns a random positive number of `certificate.SERIAL_BITS` bits."""
    authority: Callable[[], Authority | None]
    """Returns the slots as last read; None before the first authority."""


class SigningReconciler:
    """Decides and signs one request at a time, by its key."""

    def __init__(
        self,
        api: Api,
        stores: CertificateStores,
        dependencies: CertificateDependencies,
        settings: CertificateSettings,
        metrics: CertificateMetrics,
    ) -> None:
        self._api = api
        self._stores = stores
        self._dependencies = dependencies
        self._settings = settings
        self._metrics = metrics
        self._recorder = DecisionRecorder(api, dependencies.clock)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take the next step for the request; return the seconds until another is due.

        Raises:
            KubeError: The API server rejected a write, or did not answer.
            Misissued: A signed certificate did not pass validation.
        """
        csr = self._stores.requests.find(key)
        if csr is None or not concerns_us(csr):
            return None
        now = self._dependencies.clock()
        known = self.observe(csr)
        decision = decide(known, self._settings.retention, now)
        try:
            return await self._act(known, decision, now)
        except NotFound:
            return None  # it has been deleted; the watch will report it

    def observe(self, csr: CertificateSigningRequest) -> Input:
        """Collect everything that a decision about the request depends on."""
        claimed = csr.metadata.labels.get(CLUSTER_LABEL, "")
        return Input(
            csr=csr,
            request=_parsed(csr),
            cluster=self._stores.clusters.find(ObjectKey("", claimed)),
            addon=self._stores.addons.find(ObjectKey(claimed, ADDON_NAME)),
            cluster_management_addon=self._stores.cluster_management_addons.find(ObjectKey("", ADDON_NAME)),
            earlier=self._earlier(csr),
            rules=self._settings.rules,
        )

    def _earlier(self, csr: CertificateSigningRequest) -> int:
        cluster = requesting_cluster(csr, self._settings.rules.drivers)
        if cluster is None:
            return 0
        place = _place(csr)
        standing = self._stores.requests.by_index(BY_REQUESTER, cluster)
        # Requests of the same second are ordered by name; an approved one always counts.
        return sum(
            1
            for other in standing
            if other.rejected is None and _place(other) != place and (other.approved or _place(other) < place)
        )

    async def _act(self, known: Input, decision: Decision, now: datetime) -> float | None:
        csr = known.csr
        match decision:
            case Leave(until=until):
                return _seconds(until, now)
            case Wait(refusal=refusal, until=until):
                await self._record_refusal(csr, "waiting", refusal)
                return _seconds(until, now)
            case Approve():
                await self._decide(csr, APPROVED, None)
            case Deny(refusal=refusal):
                await self._decide(csr, DENIED, refusal)
            case Fail(refusal=refusal):
                await self._decide(csr, FAILED, refusal)
            case Issue():
                return await self._issue(known, now)
            case Remove():
                key = ObjectKey("", csr.metadata.name)
                await self._api.delete(CERTIFICATE_SIGNING_REQUEST, key, uid=csr.metadata.uid)
                log.info("csr_removed", csr=csr.metadata.name)
            case _:
                assert_never(decision)
        return None

    async def _decide(
        self,
        csr: CertificateSigningRequest,
        verdict: Literal["Approved", "Denied", "Failed"],
        refusal: CertificateRefusal | None,
    ) -> None:
        if refusal is not None:
            # Record first: a manager killed between the two denies again, but would not record again.
            await self._record_refusal(csr, verdict.lower(), refusal)
        reason = GRANTED if refusal is None else refusal.reason.value
        message = "all checks of the signer's policy passed" if refusal is None else refusal.message
        moment = rfc3339(self._dependencies.clock())
        condition = {
            "type": verdict,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": moment,
            "lastTransitionTime": moment,
        }
        raw = await self._untouched(csr)
        status = raw.get("status") or {}
        raw["status"] = {**status, "conditions": [*(status.get("conditions") or ()), condition]}
        where = "status" if verdict == FAILED else "approval"
        await self._api.replace(CERTIFICATE_SIGNING_REQUEST, _key(csr), raw, subresource=where)
        if refusal is None:
            self._count(csr, "approved", reason)
            log.info("csr_approved", csr=csr.metadata.name, cluster=_claimed(csr), signer=csr.spec.signer_name)

    async def _issue(self, known: Input, now: datetime) -> float | None:
        state = self._dependencies.authority()
        if state is None or not may_sign(state, now) or known.cluster is None:
            log.warning("csr_without_authority", csr=known.csr.metadata.name)
            return NO_AUTHORITY_RETRY
        try:
            pem = self._sign(known.csr, known.cluster, known.request, state, now)
        except AuthorityRunsOut as error:
            log.warning("csr_without_authority", csr=known.csr.metadata.name, error=str(error))
            return NO_AUTHORITY_RETRY
        raw = await self._untouched(known.csr)
        raw["status"] = {**raw.get("status", {}), "certificate": base64.b64encode(pem.encode()).decode()}
        await self._api.replace(CERTIFICATE_SIGNING_REQUEST, _key(known.csr), raw, subresource="status")
        self._metrics.issued.inc()
        self._count(known.csr, "issued", GRANTED)
        log.info("certificate_issued", csr=known.csr.metadata.name, cluster=known.cluster.name)
        return None

    def _sign(
        self,
        csr: CertificateSigningRequest,
        cluster: ManagedCluster,
        request: Request | MalformedRequest,
        state: Authority,
        now: datetime,
    ) -> str:
        if isinstance(request, MalformedRequest):
            raise Misissued(f"{csr.metadata.name} passed the policy with a malformed request")
        lifetime = _bounded(self._settings.lifetime, state.leaf_life)
        holding = validity(lifetime, csr.spec.expiration_seconds, state.current.certificate, now)
        certificate = issue(
            state.current, cluster, request.key.der, serial=self._dependencies.serial(), holding=holding
        )
        pem = certificate_pem(certificate)
        expected = Expectation(
            cluster=_claimed(csr), public_key=request.key.der, longest=lifetime.longest, bundle=state.bundle, now=now
        )
        if found := find_problems(pem, expected):
            raise Misissued(f"the certificate for {csr.metadata.name} is invalid and was discarded: {'; '.join(found)}")
        return pem

    async def _untouched(self, csr: CertificateSigningRequest) -> Json:
        """Read the object from the API server; raise Conflict if its status has changed since the decision."""
        raw = await self._api.read_raw(CERTIFICATE_SIGNING_REQUEST, _key(csr))
        fresh = msgspec.convert(raw, CertificateSigningRequest)
        if (fresh.metadata.uid, fresh.status) != (csr.metadata.uid, csr.status):
            raise Conflict(f"{csr.metadata.name} has changed since the decision")
        return raw

    async def _record_refusal(self, csr: CertificateSigningRequest, decision: str, refusal: CertificateRefusal) -> None:
        message = f"{decision}: {refusal.message}"
        if not await self._recorder.record(CERTIFICATE_SIGNING_REQUEST, csr, refusal.reason.value, message):
            return
        self._count(csr, decision, refusal.reason.value)
        log.warning("csr_refused", csr=csr.metadata.name, decision=decision, reason=refusal.reason.value)

    def _count(self, csr: CertificateSigningRequest, decision: str, reason: str) -> None:
        signer = csr.spec.signer_name if csr.spec.signer_name in POLICIES else "other"
        self._metrics.decisions.labels(signer=signer, decision=decision, reason=reason).inc()


def _parsed(csr: CertificateSigningRequest) -> Request | MalformedRequest:
    try:
        return parse_request(csr.spec.request)
    except MalformedRequest as error:
        return error


def _bounded(lifetime: CertificateLifetime, most: timedelta) -> CertificateLifetime:
    """Limit the lifetime to the one that the slots record."""
    longest = min(lifetime.longest, most)
    return CertificateLifetime(longest=longest, shortest=min(lifetime.shortest, longest))


def _place(csr: CertificateSigningRequest) -> tuple[str, str]:
    return csr.metadata.creation_timestamp, csr.metadata.name


def _key(csr: CertificateSigningRequest) -> ObjectKey:
    return ObjectKey("", csr.metadata.name)


def _claimed(csr: CertificateSigningRequest) -> str:
    return csr.metadata.labels.get(CLUSTER_LABEL, "")


def _seconds(until: datetime | None, now: datetime) -> float | None:
    return None if until is None else max(0.0, (until - now).total_seconds())
