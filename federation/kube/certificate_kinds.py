"""The kind of certificate signing requests, in the only version that API servers still serve."""

from typing import Final

from federation.api.certificates import CertificateSigningRequest
from federation.kube.resource import Kind

CERTIFICATE_SIGNING_REQUEST: Final = Kind(
    group="certificates.k8s.io",
    version="v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    struct=CertificateSigningRequest,
)
