"""Keys, certificates and CA bundles in files, issued by test CAs for connections on the loopback."""

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from federation.api.identity import Subject, collaborator_subject, dns_name
from federation.pki.certificate import (
    Issuer,
    Validity,
    certificate_pem,
    client_certificate,
    private_key_pem,
    server_certificate,
)
from federation.pki.names import aggregator_dns
from federation.rpc.tls import Files
from tests.support.builders.authorities import authority

RUN: Final = "5f1e7a70-0000-4000-8000-00000000000a"
SERVER_NAME: Final = aggregator_dns("digits", "default")


def now() -> datetime:
    """Return the time in whole seconds, as in certificates."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Desk:
    """Issues certificates of one CA into one folder."""

    folder: Path
    issuer: Issuer = field(default_factory=lambda: authority(begin=now() - timedelta(hours=1)))
    trusted: Issuer | None = None
    """CA that the holders trust, if it is another one."""
    serials: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1 << 100))

    def collaborator(
        self, cluster: str = "c1", *, subject: Subject | None = None, life: timedelta = timedelta(hours=1)
    ) -> Files:
        """Issue a collaborator's certificate that expires after `life`, by default for the cluster's name."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = client_certificate(
            self.issuer,
            key.public_key(),
            subject or collaborator_subject(cluster),
            [dns_name()],
            serial=next(self.serials),
            validity=Validity(now() - timedelta(minutes=5), now() + life),
        )
        return self._write(f"{cluster}-{leaf.serial_number}", private_key_pem(key), certificate_pem(leaf))

    def server(self, *names: str, into: str = "aggregator", life: timedelta = timedelta(hours=1)) -> Files:
        """Issue an aggregator's certificate for these names; each call overwrites the same files."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = server_certificate(
            self.issuer,
            key.public_key(),
            names or (SERVER_NAME,),
            serial=next(self.serials),
            validity=Validity(now() - timedelta(minutes=5), now() + life),
        )
        return self._write(into, private_key_pem(key), certificate_pem(leaf))

    def _write(self, name: str, key: str, certificate: str) -> Files:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        files = Files(folder / "tls.key", folder / "tls.crt", folder / "ca.crt")
        files.key.write_text(key)
        files.certificate.write_text(certificate)
        files.authorities.write_text(certificate_pem((self.trusted or self.issuer).certificate))
        return files
