"""TLS between collaborator and aggregator: both sides show a certificate, and both read theirs anew while they run.

TLS 1.3 alone is spoken, by what `federation.rpc` sets and by keys that are EC keys; a server without either is refused.
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
"""What gRPC asks of a fetcher that has nothing new; its type stubs leave it out."""

Reloaded = Callable[[x509.Certificate], None]
"""Told of the certificate that is shown from now on."""


class MaterialRefused(Exception):
    """Key, certificate or trust bundle can't be used; the message names the file."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where a side's key, certificate and trust bundle are, each PEM; kubelets replace them while we run."""

    key: Path
    certificate: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class Material:
    """What the files hold, as read at one time and found to fit together."""

    key: bytes
    certificate: bytes
    authorities: bytes
    leaf: x509.Certificate

    def __repr__(self) -> str:
        """Without the key."""
        return f"Material(serial={self.leaf.serial_number:x})"


def read_material(files: Files) -> Material:
    """What the files hold now.

    Raises:
        MaterialRefused: A file can't be read, does not decode, the key is not the certificate's, or is no EC key.
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
        raise MaterialRefused(f"{files.key} is not the key of {files.certificate}")
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise MaterialRefused(f"{files.key}: only an EC key keeps TLS 1.2 out")
    return Material(key, certificate, authorities, leaf)


def server_credentials(files: Files, *, reloaded: Reloaded = lambda _leaf: None) -> grpc.ServerCredentials:
    """An aggregator's credentials: every client shows a certificate that chains to the bundle.

    The files are read anew at each handshake, so that a renewed certificate and a bundle in roll-over count at once,
    for connections made from then on. Files that don't fit together, as between two writes, leave the last good ones.

    Args:
        files: The aggregator's.
        reloaded: Called from a thread of gRPC's, and once here.

    Raises:
        MaterialRefused: The files can't be used now, or TLS 1.2 would be spoken.
    """
    if not TLS_1_3_ONLY:
        raise MaterialRefused("TLS 1.2 would be spoken: import federation.rpc before grpc")
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
    """A collaborator's credentials, as the files are now: whoever connects anew makes them anew.

    Raises:
        MaterialRefused: The files can't be used now.
    """
    found = read_material(files)
    return grpc.ssl_channel_credentials(found.authorities, found.key, found.certificate)


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], root_certificates=material.authorities
    )
