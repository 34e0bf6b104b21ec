"""A collaborator's certificate, made of the hub's own facts.

The subject is computed from the ManagedCluster's name, the rest is the profile's; from the request comes the public key
alone, and the life it asks for where that is shorter than ours.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from federation.api.identity import collaborator_subject, dns_name
from federation.api.ocm.cluster import ManagedCluster
from federation.pki.certificate import Issuer, Validity, client_certificate, leaf_key

BACKDATING: Final = timedelta(minutes=5)
"""How far clocks may differ. A klusterlet reckons a certificate's life from here, hence never above a tenth of it."""

PRODUCTION_FLOOR: Final = timedelta(hours=1)
"""Below some 30 minutes a klusterlet, which looks every five, may come too late to renew."""


class AuthorityRunsOut(Exception):
    """The authority's certificate ends before a certificate of the shortest life would."""


@dataclass(frozen=True, slots=True)
class CertificateLifetime:
    """How long a collaborator's certificate holds."""

    longest: timedelta = timedelta(hours=24)
    shortest: timedelta = PRODUCTION_FLOOR
    """The floor that a request for less is raised to; below `PRODUCTION_FLOOR` in tests only."""

    def __post_init__(self) -> None:
        if not timedelta(seconds=10) <= self.shortest <= self.longest:
            raise ValueError(f"a life from {self.shortest} to {self.longest} is no life")


def validity(lifetime: CertificateLifetime, asked: int | None, authority: x509.Certificate, now: datetime) -> Validity:
    """When a new certificate holds: as long as was asked for, within our bounds and the authority's.

    Args:
        lifetime: The administrator's bounds.
        asked: `spec.expirationSeconds`; None when the klusterlet leaves it to us. `clusteradm join` makes klusterlets
            ask for a year, so too long a life is cut and not refused.
        authority: The certificate of the authority that is going to sign.
        now: The time, UTC.

    Raises:
        AuthorityRunsOut: The authority ends before the shortest life does.
    """
    wanted = (
        lifetime.longest if asked is None else min(lifetime.longest, max(lifetime.shortest, timedelta(seconds=asked)))
    )
    start = now.replace(microsecond=0)
    end = min(start + wanted, authority.not_valid_after_utc)
    if end < start + lifetime.shortest:
        raise AuthorityRunsOut(f"the authority's certificate ends {authority.not_valid_after_utc.isoformat()}")
    backdating = min(BACKDATING, (end - start) // timedelta(seconds=10) * timedelta(seconds=1))
    begin = max(start - backdating, authority.not_valid_before_utc)
    return Validity(begin, end)


def issue(
    issuer: Issuer, cluster: ManagedCluster, public_key: bytes, *, serial: int, holding: Validity
) -> x509.Certificate:
    """The certificate of the cluster's collaborators.

    Args:
        issuer: The authority in its current slot.
        cluster: The cluster as the hub has it, which the policy accepted.
        public_key: The request's public key, DER SubjectPublicKeyInfo.
        serial: A random positive number of at most `certificate.SERIAL_BITS` bits.
        holding: What `validity` gave.

    Raises:
        KeyRefused: The key is of a family that the policy doesn't let pass.
    """
    subject = collaborator_subject(cluster.name)
    return client_certificate(issuer, leaf_key(public_key), subject, [dns_name()], serial=serial, validity=holding)
