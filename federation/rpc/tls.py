"""Set up mutual TLS between collaborator and aggregator; both reload their certificates while they run.

Only TLS 1.3 is possible, because of the cipher suites that `federation.rpc` sets and because every key must be an EC
key. A server without either does not start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from federation.pki.certificate import KeyRefused, private_key_from_pem
from federation.pki.chain import BundleRefused, parse_bundle
from federation.rpc import TLS_1_3_ONLY

_log = structlog.stdlib.get_logger(__name__)

_UNCHANGED: Final = cast("grpc.ServerCertificateConfiguration", None)
"""Result of a fetcher without a new certificate; missing in gRPC's type stubs."""

Reloaded = Callable[[x509.Certificate], None]
"""Called with the certificate of all connections from now on."""


class MaterialRefused(Exception):
    """Key, certificate or trust bundle is invalid; the message names the file."""


@dataclass(frozen=True, slots=True)
class Files:
    """Paths of key, certificate and trust bundle, each PEM; the kubelet replaces the files at run time."""

    key: Path
    certificate: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class Material:
    """Content of the files, checked for consistency."""

    key: bytes
    certificate: bytes
    authorities: bytes
    leaf: x509.Certificate

    def __repr__(self) -> str:
        """Return a text without the key."""
        return f"Material(serial={self.leaf.serial_number:x})"


def read_material(files: Files) -> Material:
    """Read the files.

    Raises:
        MaterialRefused: A file can't be read or decoded, or the key does not match the certificate or is not an EC key.
    """
    try:
        key, certificate, authorities = (
            path.read_bytes() for path in (files.key, files.certificate, files.authorities)
        )
    except OSError as error:
        raise MaterialRefused(f"{error.filename}: {error.strerror}") from error
    try:
        private = private_key_from_pem(key.decode())
        leaf = x509.load_pem_x509_certificate(certificate)
        parse_bundle(authorities.decode())
    except (KeyRefused, BundleRefused, ValueError) as error:
        raise MaterialRefused(f"{files.key}, {files.certificate} or {files.authorities}: {error}") from error
    if private.public_key() != leaf.public_key():
        raise MaterialRefused(f"{files.key} does not match the certificate {files.certificate}")
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise MaterialRefused(f"{files.key}: use an EC key; other keys allow TLS 1.2")
    return Material(key, certificate, authorities, leaf)


def server_credentials(files: Files, *, reloaded: Reloaded = lambda _leaf: None) -> grpc.ServerCredentials:
    """Create the aggregator's credentials; every client needs a certificate that chains to the bundle.

    Each handshake reads the files again, so that a renewed certificate or bundle applies to new connections at once.
    While the files are inconsistent, for example between two writes, the last valid ones stay in use.

    Args:
        files: The aggregator's files.
        reloaded: Called here, and later from a thread of gRPC.

    Raises:
        MaterialRefused: The files are invalid, or gRPC would allow TLS 1.2.
    """
    if not TLS_1_3_ONLY:
        raise MaterialRefused("gRPC would allow TLS 1.2: import federation.rpc before grpc")
    shown = read_material(files)
    reloaded(shown.leaf)

    def fetch() -> grpc.ServerCertificateConfiguration:
        nonlocal shown
        try:
            found = read_material(files)
        except MaterialRefused as error:
            _log.warning("certificate_not_reloaded", error=str(error))
            return _UNCHANGED
        if found == shown:
            return _UNCHANGED
        shown = found
        reloaded(found.leaf)
        _log.info(
            "certificate_reloaded", serial=f"{found.leaf.serial_number:x}", until=str(found.leaf.not_valid_after_utc)
        )
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(_configuration(shown), fetch, require_client_authentication=True)


def client_credentials(files: Files) -> grpc.ChannelCredentials:
    """Create a collaborator's credentials from the current files; each new connection needs new ones.

    Raises:
        MaterialRefused: The files are invalid.
    """
    found = read_material(files)
    return grpc.ssl_channel_credentials(found.authorities, found.key, found.certificate)


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], root_certificates=material.authorities
    )
