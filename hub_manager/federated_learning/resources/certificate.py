"""Issue the aggregator's key and certificate from the hub's data only, never from a request."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from federation.kube.kinds import SECRET
from federation.kube.resource import Json
from federation.pki.certificate import Issuer, Validity, certificate_pem, private_key_pem, server_certificate
from federation.pki.chain import fingerprint

BACKDATING: Final = timedelta(minutes=5)
"""Allowance for clusters whose clocks are behind."""
RENEWED_AFTER: Final = 0.6
"""Fraction of the lifetime after which a certificate is renewed; the rest covers hours without a hub manager."""


@dataclass(frozen=True, slots=True)
class AggregatorAuthorityFacts:
    """Fingerprint of the current signer, and the bundle that the aggregator trusts."""

    fingerprint: str
    bundle: str
    """PEM text."""


@dataclass(frozen=True, slots=True)
class AggregatorAuthority:
    """Current signer, the bundle that aggregators trust, and the maximum lifetime of their certificates."""

    issuer: Issuer
    bundle: str
    """PEM text."""
    longest: timedelta

    @property
    def facts(self) -> AggregatorAuthorityFacts:
        """Return the public facts for planning."""
        return AggregatorAuthorityFacts(fingerprint(self.issuer.certificate), self.bundle)


Serials = Callable[[], int]
"""Random positive numbers of at most `federation.pki.certificate.SERIAL_BITS` bits."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """Secret with a new certificate, and the time of its renewal."""

    secret: Json
    renew_at: datetime


def issue_certificate(
    authority: AggregatorAuthority,
    names: tuple[str, ...],
    metadata: Json,
    *,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    now: datetime,
) -> IssuedCertificate:
    """Return the Secret with a new certificate for the key.

    Args:
        authority: The signer.
        names: DNS names and addresses; the stable name first.
        metadata: Metadata of the Secret.
        key: The aggregator's new key.
        serial: Serial number of the certificate.
        now: Current time.
    """
    until = min(now + authority.longest, authority.issuer.certificate.not_valid_after_utc)
    validity = Validity(now - BACKDATING, until)
    certificate = server_certificate(authority.issuer, key.public_key(), names, serial=serial, validity=validity)
    texts = {"tls.crt": certificate_pem(certificate), "tls.key": private_key_pem(key), "ca.crt": authority.bundle}
    secret = {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": metadata,
        "type": "kubernetes.io/tls",
        "data": {name: b64encode(text.encode()).decode() for name, text in texts.items()},
    }
    return IssuedCertificate(secret, now + (until - now) * RENEWED_AFTER)
