"""Issue a collaborator's certificate from the hub's data.

The subject is computed from the ManagedCluster's name and the rest is the profile. Only the public key and a shorter
lifetime are taken from the request.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from federation.api.identity import collaborator_subject, dns_name
from federation.api.ocm.cluster import ManagedCluster
from federation.pki.certificate import Issuer, Validity, client_certificate, leaf_key

BACKDATING: Final = timedelta(minutes=5)
"""Tolerated clock skew. A klusterlet counts the lifetime from here, so the value never exceeds a tenth of it."""

PRODUCTION_FLOOR: Final = timedelta(hours=1)
"""A klusterlet checks every five minutes, and could miss the renewal of lifetimes below about 30 minutes."""


class AuthorityRunsOut(Exception):
    """The authority's certificate expires before a certificate of the shortest lifetime would."""


@dataclass(frozen=True, slots=True)
class CertificateLifetime:
    """The bounds of a collaborator certificate's lifetime."""

    longest: timedelta = timedelta(hours=24)
    shortest: timedelta = PRODUCTION_FLOOR
    """Minimum to which shorter requests are raised; below `PRODUCTION_FLOOR` in tests only."""

    def __post_init__(self) -> None:
        if not timedelta(seconds=10) <= self.shortest <= self.longest:
            raise ValueError(
                f"invalid lifetime bounds: 10 s <= shortest ({self.shortest}) <= longest ({self.longest}) is required"
            )


def validity(lifetime: CertificateLifetime, asked: int | None, authority: x509.Certificate, now: datetime) -> Validity:
    """Compute the validity of a new certificate: the requested lifetime, within our bounds and the authority's.

    Args:
        lifetime: The administrator's bounds.
        asked: `spec.expirationSeconds`; None if the klusterlet does not set it. `clusteradm join` makes klusterlets
            request a year, so a longer lifetime is shortened and not refused.
        authority: The certificate of the signing authority.
        now: The time, UTC.

    Raises:
        AuthorityRunsOut: The authority expires before the shortest lifetime ends.
    """
    wanted = (
        lifetime.longest if asked is None else min(lifetime.longest, max(lifetime.shortest, timedelta(seconds=asked)))
    )
    start = now.replace(microsecond=0)
    end = min(start + wanted, authority.not_valid_after_utc)
    if end < start + lifetime.shortest:
        raise AuthorityRunsOut(f"the authority's certificate expires at {authority.not_valid_after_utc.isoformat()}")
    backdating = min(BACKDATING, (end - start) // timedelta(seconds=10) * timedelta(seconds=1))
    begin = max(start - backdating, authority.not_valid_before_utc)
    return Validity(begin, end)


def issue(
    issuer: Issuer, cluster: ManagedCluster, public_key: bytes, *, serial: int, holding: Validity
) -> x509.Certificate:
    """Issue the certificate of the cluster's collaborators.

    Args:
        issuer: The authority in its current slot.
        cluster: The cluster on the hub, which the policy accepted.
        public_key: The request's public key, DER SubjectPublicKeyInfo.
        serial: A random positive number of at most `certificate.SERIAL_BITS` bits.
        holding: The result of `validity`.

    Raises:
        KeyRefused: The key's type is one that the policy does not accept.
    """
    subject = collaborator_subject(cluster.name)
    return client_certificate(issuer, leaf_key(public_key), subject, [dns_name()], serial=serial, validity=holding)
