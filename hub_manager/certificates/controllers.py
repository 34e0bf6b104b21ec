"""The controllers of the certificates, which map changed objects to keys; `app.py` runs them.

Only the leader runs them; the reflectors may run in every replica.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from federation.api.identity import ADDON_NAME, TRUST_BUNDLE
from federation.api.kubernetes.certificates import CertificateSigningRequest
from federation.api.kubernetes.core import ConfigMap, Secret
from federation.api.ocm.addon import ClusterManagementAddOn, ManagedClusterAddOn
from federation.api.ocm.cluster import ManagedCluster
from federation.kube.api import Api
from federation.kube.controller import Controller, Source
from federation.kube.kinds import CERTIFICATE_SIGNING_REQUEST, SECRET
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, Resource, key_of
from federation.pki.certificate import SERIAL_BITS
from hub_manager.certificates.decision_recorder import CertificateMetrics
from hub_manager.certificates.requests.policy import concerns_us
from hub_manager.certificates.requests.requester import Drivers
from hub_manager.certificates.settings import SLOTS_SECRET, CertificateSettings
from hub_manager.certificates.signing_reconciler import (
    BY_CLUSTER,
    CertificateDependencies,
    CertificateStores,
    SigningReconciler,
    request_indexes,
)
from hub_manager.certificates.trust import EntropySource, Trust

RANDOM: Final = EntropySource(
    key=lambda: ec.generate_private_key(ec.SECP256R1()), serial=lambda: secrets.randbits(SERIAL_BITS)
)
"""The operating system's random numbers."""


@dataclass(frozen=True, slots=True)
class CertificateReflectors:
    """Reflectors of the controllers; `secrets` and `config_maps` cover the manager's namespace only."""

    requests: Reflector[CertificateSigningRequest]
    clusters: Reflector[ManagedCluster]
    addons: Reflector[ManagedClusterAddOn]
    cluster_management_addons: Reflector[ClusterManagementAddOn]
    secrets: Reflector[Secret]
    config_maps: Reflector[ConfigMap]

    @property
    def stores(self) -> CertificateStores:
        """The stores that `SigningReconciler` reads."""
        return CertificateStores(
            self.requests.store, self.clusters.store, self.addons.store, self.cluster_management_addons.store
        )


@dataclass(frozen=True, slots=True)
class CertificateInputs:
    """Reflectors that the certificates' controllers share with the rest of the hub manager."""

    clusters: Reflector[ManagedCluster]
    addons: Reflector[ManagedClusterAddOn]
    cluster_management_addons: Reflector[ClusterManagementAddOn]
    config_maps: Reflector[ConfigMap]
    rollout_sources: Sequence[Reflector[Any]]
    """Objects whose changes report the progress of a trust bundle rollout."""
    is_rolled_out: Callable[[str], bool]
    """Returns whether every spoke has reported the given bundle."""


@dataclass(frozen=True, slots=True)
class CertificateParts:
    """The certificates' reflectors and controllers, not running yet."""

    parts: tuple[Reflector[Any] | Controller, ...]
    """Its own reflectors and its controllers."""
    trust: Trust
    """The current authority, for certificates that are issued without a request."""


def certificate_parts(
    api: Api,
    shared: CertificateInputs,
    settings: CertificateSettings,
    metrics: CertificateMetrics,
    *,
    clock: Callable[[], datetime],
    entropy: EntropySource = RANDOM,
) -> CertificateParts:
    """Create the certificates' reflectors and controllers."""
    watched = CertificateReflectors(
        requests=request_reflector(api, settings.rules.drivers),
        clusters=shared.clusters,
        addons=shared.addons,
        cluster_management_addons=shared.cluster_management_addons,
        secrets=Reflector(api, SECRET, namespace=settings.namespace),
        config_maps=shared.config_maps,
    )
    trust = Trust(api, settings, metrics, clock=clock, entropy=entropy, is_rolled_out=shared.is_rolled_out)
    dependencies = CertificateDependencies(clock=clock, serial=entropy.serial, authority=trust.authority)
    controller = request_controller(SigningReconciler(api, watched.stores, dependencies, settings, metrics), watched)
    trust.subscribe(lambda: _each(controller, signable(watched.requests)))
    parts = (
        watched.requests,
        watched.secrets,
        trust_controller(trust, settings, watched, shared.rollout_sources),
        controller,
    )
    return CertificateParts(parts, trust)


def request_reflector(api: Api, drivers: Drivers) -> Reflector[CertificateSigningRequest]:
    """Create a reflector of all requests, because requests without labels must be refused too."""
    return Reflector(api, CERTIFICATE_SIGNING_REQUEST, indexes=request_indexes(drivers))


def request_controller(requests: SigningReconciler, watched: CertificateReflectors) -> Controller:
    """Create the controller that checks a request when it, its cluster, its add-on or the authority changes."""
    store = watched.requests.store

    def itself(csr: CertificateSigningRequest) -> Iterable[ObjectKey]:
        return (key_of(csr),) if concerns_us(csr) else ()

    def of_cluster(name: str) -> Iterable[ObjectKey]:
        return [key_of(csr) for csr in store.by_index(BY_CLUSTER, name)]

    def unfinished(_: ClusterManagementAddOn) -> Iterable[ObjectKey]:
        return [key_of(csr) for csr in store.values() if concerns_us(csr) and not csr.status.certificate]

    def of_slots(secret: Secret) -> Iterable[ObjectKey]:
        return signable(watched.requests) if secret.metadata.name == SLOTS_SECRET else ()

    return Controller(
        "certificate-requests",
        requests.reconcile,
        [
            Source(watched.requests, itself),
            Source(watched.clusters, lambda cluster: of_cluster(cluster.name)),
            Source(watched.addons, lambda addon: of_cluster(addon.cluster) if _is_ours(addon) else ()),
            Source(
                watched.cluster_management_addons,
                lambda cluster_management_addon: (
                    unfinished(cluster_management_addon) if cluster_management_addon.metadata.name == ADDON_NAME else ()
                ),
            ),
            Source(watched.secrets, of_slots),
        ],
    )


def signable(requests: Reflector[CertificateSigningRequest]) -> list[ObjectKey]:
    """Return the keys of the approved requests, which wait for an authority at most."""
    return [key_of(csr) for csr in requests.store.values() if concerns_us(csr) and csr.approved]


def _each(controller: Controller, keys: Iterable[ObjectKey]) -> None:
    for key in keys:
        controller.enqueue(key)


def trust_controller(
    trust: Trust,
    settings: CertificateSettings,
    watched: CertificateReflectors,
    rollout_sources: Sequence[Reflector[Any]] = (),
) -> Controller:
    """Create the controller of the slots, which runs at start, on changes of the Secrets or the bundle, and when due.

    Args:
        trust: The reconciler.
        settings: The names of the Secrets.
        watched: The reflectors of the Secrets and the bundle.
        rollout_sources: Objects that report the progress of a rollout; relevant while one is pending.
    """
    names = {SLOTS_SECRET, settings.provided_ca_secret}

    def of_secret(secret: Secret) -> Iterable[ObjectKey]:
        return (trust.key,) if secret.metadata.name in names else ()

    def of_bundle(config_map: ConfigMap) -> Iterable[ObjectKey]:
        return (trust.key,) if config_map.metadata.name == TRUST_BUNDLE else ()

    def of_carrier(_carrier: Resource) -> Iterable[ObjectKey]:
        return (trust.key,) if trust.rollout_pending else ()

    controller = Controller(
        "trust",
        trust.reconcile,
        [
            Source(watched.secrets, of_secret),
            Source(watched.config_maps, of_bundle),
            *(Source(rollout_source, of_carrier) for rollout_source in rollout_sources),
        ],
        workers=1,
    )
    # Before the first start, none of the watched objects exists.
    controller.enqueue(trust.key)
    return controller


def _is_ours(addon: ManagedClusterAddOn) -> bool:
    return addon.metadata.name == ADDON_NAME
