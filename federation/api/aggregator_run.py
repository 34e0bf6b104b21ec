"""Files and folders through which the hub manager configures an aggregator.

Two files are in one ConfigMap. `run.json` is constant while the aggregator runs. `cohort.json` changes when a member is
revoked or accepted again and, with joinPolicy NextRound, when members join or leave. The kubelet updates the file
within about a minute (its sync period, and its cache of ConfigMaps). The aggregator also watches the ConfigMap, so it
can read an older file after a newer cohort; it compares the generations.
"""

from typing import Final

from federation.api.federated_learning import Aggregation
from federation.api.meta import Struct

RUN_FOLDER: Final = "/etc/federated-learning/run"
RUN_FILE: Final = "run.json"
COHORT_FILE: Final = "cohort.json"
TLS_FOLDER: Final = "/etc/federated-learning/tls"
"""`tls.crt`, `tls.key` and `ca.crt`: certificate and key of the aggregator, and the authorities of collaborators."""
PLAN_FOLDER: Final = "/etc/federated-learning/plan"
"""The training plan from `spec.server.plan.configMap`, fixed for the attempt; optional."""
WORKSPACE_FOLDER: Final = "/var/lib/federated-learning/workspace"
"""The export of the user's workspace, written by the init container."""
STORAGE_FOLDER: Final = "/models"
"""The default mount path of the volume; `spec.server.storage.path` overrides it."""

EXCHANGE_PORT: Final = 8443
HTTP_PORT: Final = 8080
"""`/metrics`, `/healthz` and `/readyz`."""

GIVEN_UP: Final = 3
"""Exit code of a permanent failure, described in `status.failure`; other exit codes are retried."""


class AggregatorRun(Struct, frozen=True):
    """`run.json`."""

    id: str
    """The run ID of the attempt, which each call of a collaborator contains."""
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
    """The attempt's folder on the run's volume."""
    location: str
    """The same folder relative to the volume's root; the prefix of `status.model.location`."""
    server_name: str
    """The DNS name that collaborators verify."""
    config_map: str
    """The ConfigMap of the two files, in the run's namespace."""
    max_samples_per_client: int | None = None
    plan: str = ""
    """The plan's file in `PLAN_FOLDER`; empty if the init container exports the plan."""


class Cohort(Struct, frozen=True):
    """`cohort.json`."""

    generation: int
    """Number that increases with each cohort of the run; a reader ignores older generations."""
    members: tuple[str, ...]
    """Names of the managed clusters that may join, in the order in which their updates are folded."""
    revoked: tuple[str, ...] = ()
    """Members that the hub does not accept at present; their calls are cancelled and rejected."""
