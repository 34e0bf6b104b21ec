"""Identify the peer of a connection, only by the certificate that TLS verified."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from federation.pki.names import ClusterName, NameRefused, collaborator_of


class NoPeer(Exception):
    """The connection has no certificate of a collaborator."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Collaborator, identified by its certificate."""

    cluster: ClusterName
    serial: int
    not_after: datetime
    """When the certificate expires. gRPC does not check this on an open connection; the caller must."""


def peer_of(auth_context: Mapping[str, Iterable[bytes]]) -> Peer:
    """Return the collaborator whose certificate the connection uses.

    Args:
        auth_context: The call's context from gRPC; TLS has verified the chain, the dates and the extended key usage.

    Raises:
        NoPeer: There is no certificate, or its subject is not a collaborator's.
    """
    pem = next(iter(auth_context.get("x509_pem_cert", ())), None)
    if pem is None:
        raise NoPeer("the connection has no client certificate")
    try:
        leaf = x509.load_pem_x509_certificate(pem)
        return Peer(collaborator_of(leaf.subject), leaf.serial_number, leaf.not_valid_after_utc)
    except NameRefused as error:
        raise NoPeer(str(error)) from error
    except ValueError as error:
        raise NoPeer("the client's certificate does not decode") from error
