"""Keep the authority's slots in their Secret and publish the trust bundle in its ConfigMap.

Each pass reads the slots, writes a step of `authority` with the version that was read, and then publishes the bundle.
Of two managers that create an authority at once, one creates the Secret and the other adopts it. The bundle of a state
holds what the states before and after need, so it may be late but is never wrong.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import structlog

from federation.api.identity import TRUST_BUNDLE, TRUST_BUNDLE_KEY
from federation.api.kubernetes.core import Secret
from federation.kube.api import Api
from federation.kube.errors import AlreadyExists, Conflict, NotFound
from federation.kube.kinds import CONFIG_MAP, SECRET
from federation.kube.resource import Json, ObjectKey
from federation.pki.certificate import Issuer, PrivateKey, Validity, authority_certificate
from federation.pki.chain import fingerprint, render_bundle
from hub_manager.certificates.decision_recorder import COMPONENT, CertificateMetrics, DecisionRecorder
from hub_manager.certificates.settings import SLOTS_SECRET, CertificateSettings
from hub_manager.certificates.signer.authority import (
    Authority,
    AuthorityFacts,
    Create,
    Prepare,
    Rest,
    Step,
    next_step,
    take_step,
)
from hub_manager.certificates.signer.issuing import BACKDATING
from hub_manager.certificates.signer.provided_ca import SecretRefused, read_provided_ca
from hub_manager.certificates.signer.slots import read_slots, write_slots

log = structlog.get_logger(__name__)

LONGEST_REST: Final = 3600.0
"""Seconds; the time within which a clock that was set forward is noticed."""

_MOST_STEPS: Final = 8
"""Steps in one pass; the longest chain is Adopt, Allow, Drop, PrepareProvided, Switch."""


@dataclass(frozen=True, slots=True)
class EntropySource:
    """The source of keys and serial numbers."""

    key: Callable[[], PrivateKey]
    serial: Callable[[], int]


@dataclass(frozen=True, slots=True)
class _Found:
    """The state and the object that it was read from; both None before the first authority."""

    state: Authority | None
    raw: Json | None


class Trust:
    """Reconciles the slots and the bundle, under one key, that of the slots' Secret."""

    def __init__(
        self,
        api: Api,
        settings: CertificateSettings,
        metrics: CertificateMetrics,
        *,
        clock: Callable[[], datetime],
        entropy: EntropySource,
        is_rolled_out: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Store the dependencies; `is_rolled_out` returns whether every spoke has reported the given bundle."""
        self._api = api
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._entropy = entropy
        self._is_rolled_out = is_rolled_out
        self._recorder = DecisionRecorder(api, clock)
        self._state: Authority | None = None
        self._waiting: list[Callable[[], None]] = []

    def subscribe(self, known: Callable[[], None]) -> None:
        """Call the function whenever the slots become available, for example when they are read for the first time."""
        self._waiting.append(known)

    @property
    def key(self) -> ObjectKey:
        """The only key to reconcile."""
        return ObjectKey(self._settings.namespace, SLOTS_SECRET)

    def authority(self) -> Authority | None:
        """Return the slots as last read or written; None before."""
        return self._state

    @property
    def rollout_pending(self) -> bool:
        """Whether the next authority is being rolled out to the spokes."""
        return self._state is not None and self._state.next is not None

    def bundle(self) -> str:
        """Render the trust bundle as PEM; `""` before the first authority."""
        return "" if self._state is None else render_bundle(self._state.bundle)

    async def reconcile(self, _: ObjectKey) -> float | None:
        """Take every step that is due and publish the bundle; return the seconds until the next step.

        Raises:
            Conflict: Another manager wrote first.
            KubeError: The API server rejected a write, or did not answer.
        """
        try:
            found = await self._read_slots()
        except SecretRefused as error:
            self._hold(None)
            await self._record_refusal(SLOTS_SECRET, "SlotsUnreadable", error)
            return LONGEST_REST
        self._hold(found.state)
        provided_ca, refused = await self._read_brought()
        if found.state is None and refused:
            # Wait for the administrator's authority: one of ours would be replaced as soon as the Secret is fixed.
            log.warning("authority_awaited", secret=self._settings.provided_ca_secret)
            return LONGEST_REST
        rest = await self._advance(found, provided_ca, provided_ca_unusable=refused)
        await self._publish()
        return rest

    async def _advance(self, found: _Found, provided_ca: Issuer | None, *, provided_ca_unusable: bool) -> float:
        for _ in range(_MOST_STEPS):
            facts = AuthorityFacts(self._clock(), provided_ca, provided_ca_unusable, self._is_rolled_out(self.bundle()))
            step = next_step(found.state, facts, self._settings.schedule)
            if isinstance(step, Rest):
                return min(LONGEST_REST, max(0.0, (step.until - facts.now).total_seconds()))
            created = self._create_issuer(facts.now) if isinstance(step, Create | Prepare) else None
            state = take_step(found.state, step, facts, self._settings.schedule, created)
            found = _Found(state, await self._write_slots(found.raw, state))
            self._hold(state)
            _log_step(step, state)
            await self._publish()
        return 0.0

    def _hold(self, state: Authority | None) -> None:
        appeared = self._state is None and state is not None
        self._state = state
        for known in self._waiting if appeared else ():
            known()

    def _create_issuer(self, now: datetime) -> Issuer:
        key = self._entropy.key()
        start = now.replace(microsecond=0)
        holding = Validity(start - BACKDATING, start + self._settings.schedule.authority_life)
        return Issuer(authority_certificate(key, serial=self._entropy.serial(), validity=holding), key)

    async def _read_slots(self) -> _Found:
        try:
            raw = await self._api.read_raw(SECRET, self.key)
        except NotFound:
            return _Found(None, None)
        return _Found(read_slots(msgspec.convert(raw, Secret).data), raw)

    async def _write_slots(self, raw: Json | None, state: Authority) -> Json:
        data = {name: base64.b64encode(value).decode() for name, value in write_slots(state).items()}
        if raw is not None:
            written = await self._api.replace(SECRET, self.key, raw | {"data": data})
        else:
            raw = {"metadata": {"name": SLOTS_SECRET, "namespace": self.key.namespace}, "type": "Opaque"}
            try:
                written = await self._api.create(SECRET, raw | {"data": data}, namespace=self.key.namespace)
            except AlreadyExists as error:
                raise Conflict("another manager created the authority") from error
        # Keep the version of this write, so that a later write by another manager turns our next one into a Conflict.
        return raw | {"metadata": raw["metadata"] | {"resourceVersion": written.metadata.resource_version}}

    async def _read_brought(self) -> tuple[Issuer | None, bool]:
        """Read the administrator's authority; return it, and whether it is required but missing or invalid."""
        name = self._settings.provided_ca_secret
        if not name:
            return None, False
        try:
            secret = await self._api.read(SECRET, ObjectKey(self.key.namespace, name))
        except NotFound:
            return None, self._state is None
        try:
            return read_provided_ca(secret.data, self._clock()), False
        except SecretRefused as error:
            await self._record_refusal(name, "AuthorityRefused", error)
            return None, True

    async def _publish(self) -> None:
        bundle = self.bundle()
        if self._state is None:
            return
        self._measure(self._state)
        key = ObjectKey(self.key.namespace, TRUST_BUNDLE)
        try:
            if (await self._api.read(CONFIG_MAP, key)).data.get(TRUST_BUNDLE_KEY) == bundle:
                return
        except NotFound:
            pass
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "data": {TRUST_BUNDLE_KEY: bundle},
        }
        await self._api.apply(CONFIG_MAP, key, body, field_manager=COMPONENT)
        log.info("trust_bundle_published", certificates=len(self._state.bundle))

    def _measure(self, state: Authority) -> None:
        ends = self._metrics.ends
        ends.labels(slot="current").set(state.current.certificate.not_valid_after_utc.timestamp())
        if state.next is not None:
            ends.labels(slot="next").set(state.next.issuer.certificate.not_valid_after_utc.timestamp())
        else:
            ends.labels(slot="next").set(0)

    async def _record_refusal(self, name: str, reason: str, error: SecretRefused) -> None:
        key = ObjectKey(self.key.namespace, name)
        try:
            secret = await self._api.read(SECRET, key)
        except NotFound:
            return
        if await self._recorder.record(SECRET, secret, reason, str(error)):
            log.error("authority_refused", secret=str(key), reason=reason, error=str(error))


def _log_step(step: Step, state: Authority) -> None:
    log.info(
        "authority_step_taken",
        step=type(step).__name__,
        current=fingerprint(state.current.certificate),
        bundle=len(state.bundle),
    )
