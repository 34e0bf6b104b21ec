"""The aggregator's certificate: made here, with its key, of what the hub knows, and never of what anyone asks for."""

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
"""Sites' clocks may be behind."""
RENEWED_AFTER: Final = 0.6
"""Of its life: what is left outlasts a manager that is down for hours, and the kubelet's minute."""


@dataclass(frozen=True, slots=True)
class AuthorityFacts:
    """Who would sign the aggregator's certificate now, and whom it shall trust."""

    fingerprint: str
    bundle: str
    """PEM text."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs now, whom an aggregator shall trust, and how long its certificate may hold."""

    issuer: Issuer
    bundle: str
    """PEM text."""
    longest: timedelta

    @property
    def facts(self) -> AuthorityFacts:
        """What a plan has to know of it."""
        return AuthorityFacts(fingerprint(self.issuer.certificate), self.bundle)


Serials = Callable[[], int]
"""Random positive numbers of at most `federation.pki.certificate.SERIAL_BITS` bits."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A Secret to apply, and when it is due again."""

    secret: Json
    renew_at: datetime


def issue_certificate(
    authority: Authority,
    names: tuple[str, ...],
    metadata: Json,
    *,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    now: datetime,
) -> IssuedCertificate:
    """The Secret with a new certificate for that key.

    Args:
        authority: Who signs.
        names: DNS names and addresses; the stable one first.
        metadata: The Secret's.
        key: The aggregator's new key.
        serial: The certificate's serial number.
        now: The time.
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
