"""What the hub manager tells a run's aggregator: two files of one ConfigMap, and the folders that its pod mounts.

`run.json` never changes while the aggregator runs. `cohort.json` does: a member that the hub no longer accepts is
revoked at once, one that it accepts again comes back, and with joinPolicy NextRound members come and go. The kubelet
brings a change within about a minute (its sync period, and the cache of ConfigMaps); the aggregator watches the
ConfigMap besides, so that an older file is read after a newer cohort is known: its generation says so.
"""

from typing import Final

from federation.api.federated_learning import Aggregation
from federation.api.meta import Struct

RUN_FOLDER: Final = "/etc/federated-learning/run"
RUN_FILE: Final = "run.json"
COHORT_FILE: Final = "cohort.json"
TLS_FOLDER: Final = "/etc/federated-learning/tls"
"""`tls.crt`, `tls.key` and `ca.crt`: the aggregator's pair, and the authorities that collaborators come with."""
PLAN_FOLDER: Final = "/etc/federated-learning/plan"
"""The text that is fixed for the attempt of `spec.server.plan.configMap`, where there is one."""
WORKSPACE_FOLDER: Final = "/var/lib/federated-learning/workspace"
"""What the init container wrote out of the user's workspace, as data."""
STORAGE_FOLDER: Final = "/models"
"""Where the volume is mounted unless `spec.server.storage.path` says otherwise."""

EXCHANGE_PORT: Final = 8443
HTTP_PORT: Final = 8080
"""`/metrics`, `/healthz` and `/readyz`."""

GIVEN_UP: Final = 3
"""Exit code: the run can't go on, `status.failure` says why, and a restart would not help. Any other is tried again."""


class AggregatorRun(Struct, frozen=True):
    """`run.json`."""

    id: str
    """Of this attempt at the run: what collaborators name in each call."""
    name: str
    namespace: str
    uid: str
    rounds: int
    round_timeout_seconds: int
    min_clients_per_round: int
    join_policy: str
    aggregation: Aggregation
    framework: str
    folder: str
    """This attempt's own folder, on the run's volume."""
    location: str
    """The same, relative to the volume's root: how `status.model.location` begins."""
    server_name: str
    """The DNS name that collaborators verify."""
    config_map: str
    """The ConfigMap that the two files are of, in the run's namespace."""
    max_samples_per_client: int | None = None
    plan: str = ""
    """The plan's file in `PLAN_FOLDER`, or empty: it is the init container's."""


class Cohort(Struct, frozen=True):
    """`cohort.json`."""

    generation: int
    """Greater than that of every cohort before in this run; whoever knows a newer one passes this one over."""
    members: tuple[str, ...]
    """Names of managed clusters, in order: they may join, and their updates are folded in this order."""
    revoked: tuple[str, ...] = ()
    """Of the members, those that the hub no longer accepts: their calls are cut, and none is taken."""
