"""Contract between the spoke agent and the process in a collaborator's image; docs/reference/runtime-contract.md.

An image derives from its runtime's base and keeps the entry point. The agent mounts the dataset, the certificate and
the trust bundle read-only, sets the variables of `Variable` and gives no Kubernetes token. The process may write below
`SCRATCH` only. It reports failure by `ExitCode` and a `TerminationMessage`; without one the agent reads the end of the
log. `federation.api.collaborator.RESERVED_PREFIX` keeps users from setting the agent's variables.
"""

from enum import IntEnum, StrEnum
from typing import Final

from federation.api.meta import Struct

CONTAINER: Final = "collaborator"
DATA_FOLDER: Final = "/data"
TLS_FOLDER: Final = "/tls"
PLAN_FOLDER: Final = "/plan"
PLAN_FILE: Final = "plan.yaml"
SCRATCH: Final = "/tmp"  # noqa: S108 - an emptyDir of the pod; the root file system is read-only
TERMINATION_LOG: Final = "/dev/termination-log"


class Variable(StrEnum):
    """Environment variables by which the agent, or the aggregator's Job, configures the process."""

    RUN = "FL_RUN"
    """The run, as `NAMESPACE/NAME` on the hub."""
    RUN_ID = "FL_RUN_ID"
    """The ID of this attempt of the run in the exchange."""
    CLUSTER = "FL_CLUSTER"
    """The ManagedCluster's name, as in the certificate."""
    AGGREGATORS = "FL_AGGREGATORS"
    """The aggregator's addresses: `HOST:PORT`, separated by commas, in order of preference."""
    SERVER_NAME = "FL_SERVER_NAME"
    """The DNS name to verify in the aggregator's certificate, for every address."""
    PLAN = "FL_PLAN"
    """The plan's path, absolute or relative to the workspace; unset if the image's own applies."""
    DATA = "FL_DATA"
    """The folder of the dataset."""
    TLS = "FL_TLS"
    """The folder with `tls.crt`, `tls.key` and `ca.crt`; the kubelet renews them while the process runs."""
    DEADLINE_SECONDS = "FL_DEADLINE_SECONDS"
    """How long to retry an unreachable aggregator before the process exits."""
    TERMINATION_LOG = "FL_TERMINATION_LOG"
    """The file for the termination message."""
    WORKSPACE = "FL_WORKSPACE"
    """The folder of the user's workspace. Set by the image; neither the agent nor the hub sets it."""


class ExitCode(IntEnum):
    """Exit status of the process."""

    DONE = 0
    INTERNAL = 1
    SETTINGS_REFUSED = 2
    PLAN_REFUSED = 3
    WORKSPACE_FAILED = 4
    AGGREGATOR_REFUSED = 5
    AGGREGATOR_LOST = 6
    TERMINATED = 143
    """128 + SIGTERM: the kubelet stopped the pod."""


FATAL_EXPORT_EXITS: Final = (
    int(ExitCode.SETTINGS_REFUSED),
    int(ExitCode.PLAN_REFUSED),
    int(ExitCode.WORKSPACE_FAILED),
)
"""Exit statuses of `export` that a retry would repeat, because settings, plan or workspace are invalid."""

FATAL_EXITS: Final = (*FATAL_EXPORT_EXITS, int(ExitCode.AGGREGATOR_REFUSED))
"""Exit statuses of a collaborator that a retry would repeat; the Job retries all others, up to its limit."""


class TerminationMessage(Struct, frozen=True, rename=None):
    """Failure of the process, as JSON in the termination message file; every field is optional."""

    reason: str = ""
    message: str = ""
    exception: str = ""
    """The class of the exception."""
    file: str = ""
    """Where it was raised: relative to the workspace for the user's code."""
    line: int = 0
    task: str = ""
    round: int | None = None
    log: str = ""
    """The last lines of the log, if the runtime keeps them."""
