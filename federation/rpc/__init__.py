"""What two processes of ours say to each other over gRPC, and on what terms: TLS 1.3 among them.

gRPC has no setting for the least version of TLS. Its cipher suites are those of TLS 1.2 alone, and a suite goes with
one kind of key: a server whose certificate holds an EC key, and whose suites are RSA's, has nothing to agree on with a
client that speaks no more than TLS 1.2 (RFC 5246 section 7.4.2; TLS 1.3's own suites can't be set). gRPC reads the
suites from the environment, once, while it is imported. So they are set here, where whoever imports a part of this
package comes by, and a process that serves imports this package before gRPC; `federation.rpc.tls` refuses to serve
otherwise.
"""

import os
import sys
from typing import Final

_VARIABLE: Final = "GRPC_SSL_CIPHER_SUITES"
_RSA_ALONE: Final = "ECDHE-RSA-AES128-GCM-SHA256"

TLS_1_3_ONLY: Final = "grpc" not in sys.modules or os.environ.get(_VARIABLE) == _RSA_ALONE
"""Whether the suites were set before gRPC read them; an environment that had them from the start is as good."""

os.environ[_VARIABLE] = _RSA_ALONE
