"""Certificate signing requests in the hub's API.

`username` and `groups` are what the API server authenticated; labels, annotations, `usages`, `expiration_seconds` and
`request` are what the requester wrote. A condition cannot be removed after it is set.
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
    """The request and its authenticated requester; immutable."""

    request: bytes = b""
    """The PKCS #10 request as PEM text."""
    signer_name: str = ""
    expiration_seconds: int | None = None
    usages: tuple[str, ...] = ()
    username: str = ""
    groups: tuple[str, ...] = ()


class CertificateSigningRequestStatus(Struct, frozen=True):
    """The decision, and the issued certificate as PEM text."""

    conditions: tuple[Condition, ...] = ()
    certificate: bytes = b""


class CertificateSigningRequest(Resource, frozen=True):
    """One request for a certificate."""

    spec: CertificateSigningRequestSpec = CertificateSigningRequestSpec()
    status: CertificateSigningRequestStatus = CertificateSigningRequestStatus()

    @property
    def approved(self) -> bool:
        """Report whether the request is approved."""
        return is_true(self.status.conditions, APPROVED)

    @property
    def rejected(self) -> Condition | None:
        """Return the Denied or Failed condition, or None."""
        for condition_type in (DENIED, FAILED):
            if is_true(self.status.conditions, condition_type):
                return condition_of(self.status.conditions, condition_type)
        return None

    @property
    def created(self) -> datetime:
        """Return the creation time.

        Raises:
            ValueError: The creation timestamp is missing; the API server always sets it.
        """
        return datetime.fromisoformat(self.metadata.creation_timestamp)
