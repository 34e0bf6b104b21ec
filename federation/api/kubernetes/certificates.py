"""Certificate signing requests as the hub's API server has them.

`username` and `groups` are what the API server authenticated; labels, annotations, `usages`, `expiration_seconds` and
`request` are what the requester wrote. A condition cannot be taken back once it is set.
Source: k8s.io/api `certificates/v1/types.go`.
"""

from datetime import datetime
from typing import Final

from federation.api.meta import Condition, Resource, Struct, condition_of, is_true

APPROVED: Final = "Approved"
DENIED: Final = "Denied"
FAILED: Final = "Failed"

DIGITAL_SIGNATURE: Final = "digital signature"
KEY_ENCIPHERMENT: Final = "key encipherment"
CLIENT_AUTH: Final = "client auth"


class CertificateSigningRequestSpec(Struct, frozen=True):
    """What is asked for and who asks; the API server lets nobody change it."""

    request: bytes = b""
    """The PKCS #10 request as PEM text."""
    signer_name: str = ""
    expiration_seconds: int | None = None
    usages: tuple[str, ...] = ()
    username: str = ""
    groups: tuple[str, ...] = ()


class CertificateSigningRequestStatus(Struct, frozen=True):
    """What was decided, and the certificate as PEM text once it is issued."""

    conditions: tuple[Condition, ...] = ()
    certificate: bytes = b""


class CertificateSigningRequest(Resource, frozen=True):
    """One request for a certificate."""

    spec: CertificateSigningRequestSpec = CertificateSigningRequestSpec()
    status: CertificateSigningRequestStatus = CertificateSigningRequestStatus()

    @property
    def approved(self) -> bool:
        """Whether somebody who may has approved it."""
        return is_true(self.status.conditions, APPROVED)

    @property
    def rejected(self) -> Condition | None:
        """The condition that ended it without a certificate, Denied or Failed."""
        for condition_type in (DENIED, FAILED):
            if is_true(self.status.conditions, condition_type):
                return condition_of(self.status.conditions, condition_type)
        return None

    @property
    def created(self) -> datetime:
        """When the API server stored it.

        Raises:
            ValueError: The object carries no creation timestamp; none that an API server stored is without.
        """
        return datetime.fromisoformat(self.metadata.creation_timestamp)
