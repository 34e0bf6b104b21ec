"""The certificates' reconcilers over an API server in memory, with a clock that a test moves."""

import base64
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from federation.api.identity import TRUST_BUNDLE
from federation.kube.kinds import (
    CERTIFICATE_SIGNING_REQUEST,
    CLUSTER_MANAGEMENT_ADD_ON,
    CONFIG_MAP,
    EVENT,
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    SECRET,
)
from federation.kube.resource import Json, Kind, ObjectKey, T
from federation.kube.store import Indexes, Store
from federation.pki.certificate import Issuer, certificate_pem, private_key_pem
from hub_manager.certificates.decision_recorder import certificate_metrics
from hub_manager.certificates.settings import SLOTS_SECRET, CertificateSettings
from hub_manager.certificates.signer.authority import Authority
from hub_manager.certificates.signer.slots import read_slots
from hub_manager.certificates.signing_reconciler import (
    CertificateDependencies,
    CertificateStores,
    SigningReconciler,
    request_indexes,
)
from hub_manager.certificates.trust import EntropySource, Trust
from tests.support.builders import csr as make
from tests.support.fakes.fake_api import FakeApi


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: datetime = make.NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, span: timedelta) -> None:
        self.now += span


@dataclass
class Hub:
    """A hub's API server, and one hub manager after another that works on it."""

    clock: Clock = field(default_factory=Clock)
    settings: CertificateSettings = field(default_factory=CertificateSettings)

    def __post_init__(self) -> None:
        self.api = FakeApi(now=self.clock)
        self.serials = count(1 << 150)
        self.rolled_out = False
        self.restart()

    def restart(self) -> None:
        """A new hub manager that knows nothing but what the API server holds."""
        self.registry = CollectorRegistry()
        metrics = certificate_metrics(self.registry)
        entropy = EntropySource(key=lambda: ec.generate_private_key(ec.SECP256R1()), serial=lambda: next(self.serials))
        self.trust = Trust(
            self.api, self.settings, metrics, clock=self.clock, entropy=entropy, is_rolled_out=lambda _: self.rolled_out
        )
        self._world = CertificateDependencies(clock=self.clock, serial=entropy.serial, authority=self.trust.authority)
        self._metrics = metrics

    def enable(self, cluster: str = "c1", **facts: Any) -> None:
        """An accepted cluster with the add-on."""
        self.api.seed(CLUSTER_MANAGEMENT_ADD_ON, make.cluster_management_addon_object())
        self.api.seed(MANAGED_CLUSTER, make.cluster_object(cluster, **facts))
        self.api.seed(MANAGED_CLUSTER_ADD_ON, make.addon_object(cluster))

    def bring(self, issuer: Issuer) -> None:
        """An administrator's Secret of the name that the settings give."""
        self.settings = replace(self.settings, provided_ca_secret="administrators-ca")
        texts = {"tls.crt": certificate_pem(issuer.certificate), "tls.key": private_key_pem(issuer.key)}
        self.api.seed(SECRET, self._secret("administrators-ca", texts))

    def bring_text(self, **texts: str) -> None:
        """An administrator's Secret that says anything."""
        self.settings = replace(self.settings, provided_ca_secret="administrators-ca")
        named = {name.replace("_", "."): text for name, text in texts.items()}
        self.api.seed(SECRET, self._secret("administrators-ca", named))

    def _secret(self, name: str, texts: dict[str, str]) -> Json:
        data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        return {"metadata": {"name": name, "namespace": self.settings.namespace}, "type": "x", "data": data}

    async def request(self, cluster: str = "c1", /, **changes: Any) -> str:
        """A request by the cluster's klusterlet; its name."""
        body = make.signing_request(cluster, **{"created": f"{self.clock.now:%Y-%m-%dT%H:%M:%SZ}"} | changes)
        del body["metadata"]["uid"]
        self.api.seed(CERTIFICATE_SIGNING_REQUEST, body)
        return str(body["metadata"]["name"])

    async def settle(self) -> None:
        """Runs both reconcilers as often as they have something to write."""
        for _ in range(8):
            before = self.api.version
            await self.trust.reconcile(self.trust.key)
            requests = await self.requests()
            for raw in self.api.objects(CERTIFICATE_SIGNING_REQUEST):
                await requests.reconcile(ObjectKey("", raw["metadata"]["name"]))
            if self.api.version == before:
                return
        raise AssertionError("the certificates don't settle")

    async def requests(self) -> SigningReconciler:
        """The reconciler over what the API server holds now."""
        return SigningReconciler(self.api, await self._stores(), self._world, self.settings, self._metrics)

    async def _stores(self) -> CertificateStores:
        return CertificateStores(
            await self._store(CERTIFICATE_SIGNING_REQUEST, request_indexes(self.settings.rules.drivers)),
            await self._store(MANAGED_CLUSTER),
            await self._store(MANAGED_CLUSTER_ADD_ON),
            await self._store(CLUSTER_MANAGEMENT_ADD_ON),
        )

    async def _store(self, kind: Kind[T], indexes: Indexes[T] | None = None) -> Store[T]:
        store: Store[T] = Store(indexes)
        for item in (await self.api.list_page(kind)).items:
            store.put(item)
        return store

    def find(self, name: str) -> Json | None:
        """The request as the API server has it."""
        found = self.api.objects(CERTIFICATE_SIGNING_REQUEST)
        return next((raw for raw in found if raw["metadata"]["name"] == name), None)

    def conditions(self, name: str) -> list[tuple[str, str]]:
        """Type and reason of each of the request's conditions."""
        raw = self.find(name)
        assert raw is not None
        return [(c["type"], c["reason"]) for c in raw.get("status", {}).get("conditions", [])]

    def certificate(self, name: str) -> str:
        """The request's certificate as PEM text, `""` until it is issued."""
        raw = self.find(name)
        assert raw is not None
        return base64.b64decode(raw.get("status", {}).get("certificate", "")).decode()

    def counted_events(self, name: str) -> set[str]:
        """The reasons of the Events on the object."""
        return {raw["reason"] for raw in self.api.objects(EVENT) if raw["involvedObject"]["name"] == name}

    def bundle(self) -> str:
        """The content of the trust bundle, `""` until it exists."""
        found = [raw for raw in self.api.objects(CONFIG_MAP) if raw["metadata"]["name"] == TRUST_BUNDLE]
        return str(found[0]["data"]["ca.crt"]) if found else ""

    def slots(self) -> Authority | None:
        """The slots as the API server has them."""
        found = [raw for raw in self.api.objects(SECRET) if raw["metadata"]["name"] == SLOTS_SECRET]
        return read_slots({k: base64.b64decode(v) for k, v in found[0]["data"].items()}) if found else None

    def counted(self, decision: str) -> dict[str, float]:
        """How often each reason was counted with the decision."""
        samples = [sample for metric in self.registry.collect() for sample in metric.samples]
        return {
            s.labels["reason"]: s.value
            for s in samples
            if s.name == "federated_learning_hub_csr_decisions_total" and s.labels["decision"] == decision
        }
