"""The image contract: what the agent and the process in a collaborator's image agree on. Pure values.

An image derives from its runtime's base and keeps the entry point. The process finds the site's data, its certificate
and the authorities in mounted folders, all read-only, and everything else in these variables; it may write below
`SCRATCH` alone. It has no Kubernetes token. How it ends is its exit status, and why it failed a JSON object in the
termination message file (`Told`), or else the end of its log.

| variable | what it is |
|---|---|
| `FL_RUN` | the run, as `NAMESPACE/NAME` on the hub |
| `FL_RUN_ID` | what names this attempt at the run in the exchange |
| `FL_CLUSTER` | the ManagedCluster's name, which is the one in the certificate |
| `FL_AGGREGATORS` | where to dial: each a `HOST:PORT`, separated by commas, the first choice first |
| `FL_SERVER_NAME` | the DNS name that the aggregator's certificate has to have, whatever is dialled |
| `FL_PLAN` | the plan, as a file or relative to the workspace; not set where the image's own counts |
| `FL_DATA` | the folder of the site's dataset |
| `FL_TLS` | the folder with `tls.crt`, `tls.key` and `ca.crt` (the authorities), renewed while it runs |
| `FL_DEADLINE_SECONDS` | how long the aggregator may be out of reach before the process gives up |
| `FL_TERMINATION_LOG` | the termination message file |
| `HOME` | a folder that can be written |
"""

from typing import Final

from federation.api.meta import Struct

CONTAINER: Final = "collaborator"
DATA_FOLDER: Final = "/data"
TLS_FOLDER: Final = "/tls"
PLAN_FOLDER: Final = "/plan"
PLAN_FILE: Final = "plan.yaml"
SCRATCH: Final = "/tmp"  # noqa: S108 - the pod's own, the root is read-only
TERMINATION_LOG: Final = "/dev/termination-log"

FATAL_EXITS: Final = (2, 3, 4, 5)
"""Exit statuses after which another try would end the same: settings, plan or workspace at fault, or the aggregator
has refused this collaborator. All others are tried again, within the Job's limit."""


class Told(Struct, frozen=True, rename=None):
    """What the runtime says of its failure; every field may be missing."""

    reason: str = ""
    message: str = ""
    exception: str = ""
    file: str = ""
    line: int = 0
    task: str = ""
    round: int | None = None
    log: str = ""
    """The last lines of its log, where the runtime keeps them."""
