"""Implement the gRPC exchange between aggregator and collaborators; importing this package restricts gRPC to TLS 1.3.

gRPC has no setting for the minimum TLS version. Its configurable cipher suites are those of TLS 1.2, and each suite
requires one kind of key: a server with an EC key and RSA suites has no suite in common with a TLS 1.2 client (RFC 5246
section 7.4.2; the suites of TLS 1.3 can't be configured). gRPC reads the suites from the environment once, at import.
This module therefore sets them, and a server must import this package before gRPC; `federation.rpc.tls` otherwise
rejects the start.
"""

import os
import sys
from typing import Final

_VARIABLE: Final = "GRPC_SSL_CIPHER_SUITES"
_RSA_ALONE: Final = "ECDHE-RSA-AES128-GCM-SHA256"

TLS_1_3_ONLY: Final = "grpc" not in sys.modules or os.environ.get(_VARIABLE) == _RSA_ALONE
"""Whether the suites were set before gRPC read them, here or in the initial environment."""

os.environ[_VARIABLE] = _RSA_ALONE
