"""A Collaborator: the training process of one run at one cluster, requested by the hub and reported on by the agent.

The hub's ManifestWork writes the spec, into the add-on's install namespace. The agent decides whether to admit it,
creates a Job, and writes the status, which the ManifestWork feeds back to the hub (`FEEDBACK`). The hub names a dataset
and never a path, a volume, a Secret, a command or a permission: the site's own Dataset of that name determines what is
mounted.

Without `spec.aggregator` the agent validates the Collaborator and starts nothing. When the hub sets the aggregator's
address the agent creates the Job; when the hub removes the address the agent stops it. The structs accept every object
that the CRD admits; `spoke_agent.collaborator.planning.admission` validates it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final

import msgspec

from federation.api.dns_names import DNS_LABEL
from federation.api.meta import FEDERATION_GROUP, Condition, CustomResource, Struct
from federation.api.schema import (
    RELATIVE_PATH,
    REQUIRED,
    Int64,
    IntOrString,
    PrinterColumn,
    bounds,
    entries,
    items,
    length,
    map_list,
    matches,
    one_of,
    rule,
)

ACCEPTED: Final = "Accepted"
"""Condition: whether the site takes part in the run."""
RUNNING: Final = "Running"
"""Condition: whether the collaborator's container is running."""
FINISHED: Final = "Finished"
"""Condition: whether the Job has ended; the reason tells success from failure."""

COLLABORATOR_LABEL: Final = f"{FEDERATION_GROUP}/collaborator"
"""Label of the site's Jobs, pods and NetworkPolicies: the name of the Collaborator that they belong to."""
APPROVAL_PREFIX: Final = f"approval.{FEDERATION_GROUP}/"
"""Prefix of `status.approval` in the annotation of the *Dataset* by which the site approves a request. The hub writes
Collaborators and can't write Datasets, so an approval on a Collaborator would prove nothing."""
APPROVED: Final = "approved"
"""Value of the approval annotation."""

VALUE_LIMIT: Final = 1024
"""Maximum bytes of a value that a ManifestWork feeds back (open-cluster-management.io/api `work/v1/types.go`)."""
PLAN_LIMIT: Final = 128 * 1024
"""Maximum bytes of a plan's text. The agent passes it on in a pod's annotations, which are limited to 256 KiB in total
(k8s.io/apimachinery `pkg/api/validation/objectmeta.go`), and a ManifestWork is limited to 500 KiB (ocm's webhook,
`common/validator.go`)."""
DEFAULT_PATIENCE: Final = 600
"""Seconds for which a collaborator retries an aggregator that does not respond."""

RESERVED_PREFIX: Final = "FL_"
"""Prefix of the environment variables by which the agent configures the collaborator."""
VariableName = Annotated[
    str,
    length(253),
    matches("[A-Za-z_][A-Za-z0-9_]*", "use letters, digits and '_', beginning with a letter or '_'"),
    rule(
        f"!self.startsWith('{RESERVED_PREFIX}')",
        f"use a prefix other than {RESERVED_PREFIX}, which is reserved for the agent",
    ),
]


class RunReference(Struct, frozen=True):
    """The FederatedLearning on the hub. The hub manager writes the reference; a user can't."""

    namespace: Annotated[
        str, REQUIRED, length(63), matches(DNS_LABEL, "write the namespace of the FederatedLearning")
    ] = ""
    """Namespace of the FederatedLearning."""
    name: Annotated[
        str, REQUIRED, length(63), matches(DNS_LABEL, "write the name of the FederatedLearning, without dots")
    ] = ""
    """Name of the FederatedLearning."""
    uid: Annotated[str, REQUIRED, length(128, minimum=1)] = ""
    """UID of the FederatedLearning."""
    id: Annotated[str, length(128), matches("[-A-Za-z0-9_.]*", "use letters, digits, '-', '_' and '.'")] = ""
    """Identifier of this attempt at the run; a new identifier leads to a new Job. If empty, the UID is used."""

    @property
    def attempt(self) -> str:
        """The identifier of the attempt."""
        return self.id or self.uid


_Quantities = Annotated[dict[str, Annotated[IntOrString, length(64)]], entries(32)]


class ContainerResources(Struct, frozen=True):
    """Requests and limits of the container, as quantities by resource name, GPUs (`nvidia.com/gpu`) included."""

    requests: _Quantities = msgspec.field(default_factory=dict)
    """Amounts that the scheduler reserves."""
    limits: _Quantities = msgspec.field(default_factory=dict)
    """Maximum amounts."""


class PlainVariable(Struct, frozen=True):
    """An environment variable with a plain value; the hub can't refer to a Secret of the site."""

    name: Annotated[VariableName, REQUIRED] = ""
    """Name of the variable; the prefix `FL_` is reserved."""
    value: Annotated[str, length(32768)] = ""
    """Value of the variable."""


class RunPlan(Struct, frozen=True):
    """The run's plan, either as a file of the image or as text from the hub."""

    cel_rules = (
        rule(
            "(has(self.file) && size(self.file) > 0) != (has(self.text) && size(self.text) > 0)",
            "write either file or text",
        ),
    )

    file: Annotated[str, length(1024), RELATIVE_PATH] = ""
    """File of the image, relative to its workspace."""
    text: Annotated[str, length(PLAN_LIMIT)] = ""
    """The plan as exported by the hub, unchanged; at most 128 KiB."""


class AggregatorAddress(Struct, frozen=True):
    """Addresses at which this cluster reaches the run's aggregator."""

    addresses: Annotated[
        tuple[
            Annotated[
                str,
                length(260),
                matches(
                    r"([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4}",
                    "write HOST:PORT, an IPv6 address in brackets",
                ),
            ],
            ...,
        ],
        REQUIRED,
        items(8, minimum=1),
    ] = ()
    """Addresses of the aggregator as `HOST:PORT`, IPv6 in brackets; the collaborator connects to the first. The server
    must present a certificate for `RUN.NAMESPACE.aggregator.federated-learning.internal`, a name that the agent
    computes itself."""
    patience_seconds: Annotated[Int64, bounds(1, 604800)] = DEFAULT_PATIENCE
    """Seconds for which the collaborator retries an aggregator that does not respond."""


class CollaboratorSpec(Struct, frozen=True):
    """The hub's request to the site."""

    run: Annotated[RunReference, REQUIRED] = RunReference()
    dataset: Annotated[str, REQUIRED, length(63), matches(DNS_LABEL, "write the name of a Dataset")] = ""
    """Name of a Dataset in the same namespace."""
    image: Annotated[str, REQUIRED, length(512, minimum=1)] = ""
    """Image of the collaborator, including its registry."""
    framework: Annotated[str, one_of("openfl", "flower", "other")] = "openfl"
    """Framework of the run."""
    resources: ContainerResources = ContainerResources()
    """Requests and limits of the container, GPUs (`nvidia.com/gpu`) included."""
    args: Annotated[tuple[Annotated[str, length(4096)], ...], items(256)] = ()
    """Arguments for the image's entry point, which the hub can't replace."""
    env: Annotated[tuple[PlainVariable, ...], items(128)] = ()
    """Environment variables of the container, with plain values; the hub can't refer to a Secret of the site."""
    plan: RunPlan | None = None
    """Plan of the run. If absent, the image's own plan is used."""
    aggregator: AggregatorAddress | None = None
    """Addresses at which this cluster reaches the run's aggregator. If absent, no collaborator runs."""
    active_deadline_seconds: Annotated[Int64, bounds(1, 31_536_000)] | None = None
    """Maximum duration of the Job, from its start."""


class CollaboratorState(StrEnum):
    """Value of `status.state`: the collaborator's state in one word."""

    REFUSED = "Refused"
    """The site does not take part; `status.reason` has the cause."""
    PENDING = "Pending"
    """An administrator of the site must approve the request."""
    ACCEPTED = "Accepted"
    """The site takes part; the collaborator starts when the hub sets the aggregator's address."""
    STARTING = "Starting"
    """The Job exists; its container is not running yet."""
    RUNNING = "Running"
    """The container is running."""
    RETRYING = "Retrying"
    """The container failed, and the Job retries it."""
    SUCCEEDED = "Succeeded"
    """The Job completed."""
    FAILED = "Failed"
    """The Job failed and is not retried."""


class CollaboratorExit(Struct, frozen=True):
    """Cause of the last container failure; `reason` is empty if no container failed."""

    code: Int64 = 0
    """Exit status."""
    reason: str = ""
    """Reason from the runtime (`WorkspaceFailed`) or, failing that, from the kubelet (`OOMKilled`)."""
    message: str = ""
    """Description of the failure."""
    exception: str = ""
    """Class of the exception."""
    file: str = ""
    """File that raised the exception; relative to the workspace for the user's code."""
    line: Int64 = 0
    """Line in the file, from 1; 0 if unknown."""
    task: str = ""
    """Task of the plan that failed."""
    round: Int64 = 0
    """Round in which the failure occurred, from 1; 0 if outside a round."""
    log: str = ""
    """Last lines of the container's log, if the runtime left no reason."""


class CollaboratorStatus(Struct, frozen=True):
    """Status of the collaborator, as reported by the agent; each text has at most 1,024 bytes."""

    observed_generation: Int64 = 0
    """Generation of the spec that the status describes."""
    run_id: str = ""
    """Attempt (`spec.run.id`) that the status describes."""
    state: str = ""
    """State of the collaborator in one word."""
    reason: str = ""
    """Reason of the most important condition."""
    message: str = ""
    """Message of the most important condition: the remedy, or the error with file and line."""
    approval: str = ""
    """Key of the Dataset's annotation that approves this request; it changes when the request changes."""
    restarts: Int64 = 0
    """Number of failed containers."""
    exit: CollaboratorExit = CollaboratorExit()
    conditions: Annotated[tuple[Condition, ...], map_list("type")] = ()
    """Whether the site takes part, the container is running, and the Job has ended."""


class Collaborator(CustomResource, frozen=True):
    """The training process of one run at this site, requested by the hub.

    The agent admits it by the policy of the Dataset, and mounts only the volume of that Dataset.
    """

    cel_rules = (
        rule(
            f"self.metadata.name.matches('^{DNS_LABEL}$')",
            "rename the Collaborator: at most 63 lower-case letters, digits and '-', beginning and ending with a "
            "letter or digit",
        ),
    )
    printer_columns = (
        PrinterColumn("Run", ".spec.run.name"),
        PrinterColumn("Dataset", ".spec.dataset"),
        PrinterColumn("State", ".status.state"),
        PrinterColumn("Reason", ".status.reason"),
        PrinterColumn("Restarts", ".status.restarts", "integer"),
        PrinterColumn("Image", ".spec.image", priority=1),
    )

    spec: Annotated[CollaboratorSpec, REQUIRED] = CollaboratorSpec()
    status: CollaboratorStatus = CollaboratorStatus()


FEEDBACK: Final[Mapping[str, str]] = MappingProxyType(
    {
        "observedGeneration": ".status.observedGeneration",
        "runId": ".status.runId",
        "state": ".status.state",
        "reason": ".status.reason",
        "message": ".status.message",
        "restarts": ".status.restarts",
        "exitCode": ".status.exit.code",
        "exitReason": ".status.exit.reason",
        "file": ".status.exit.file",
        "line": ".status.exit.line",
        "round": ".status.exit.round",
        "log": ".status.exit.log",
    }
)
"""Values of a Collaborator that its ManifestWork feeds back: names and JSONPaths, scalars only; absent values are
omitted."""
