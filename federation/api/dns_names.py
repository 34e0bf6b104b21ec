"""DNS names as Kubernetes checks them (RFC 1123); the patterns are RE2, so that CEL rules can use them too.

Source: k8s.io/apimachinery `pkg/util/validation/validation.go`.
"""

import re
from typing import Final

DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""Pattern of a DNS label: the name of a namespace, and so of a managed cluster, a Service or a Dataset."""
DNS_NAME: Final = "[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
"""Pattern of a name with dots, such as that of a PersistentVolumeClaim; two dots in a row are not excluded."""

_LABEL: Final = re.compile(DNS_LABEL)


def is_dns_label(text: str) -> bool:
    """Whether the text is a DNS label."""
    return _LABEL.fullmatch(text) is not None
