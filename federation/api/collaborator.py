"""A Collaborator: one run's part at one site, as the hub asks for it and the site's agent reports on it.

The hub's ManifestWork writes the spec, into the add-on's install namespace; the agent decides whether it is met, starts
a Job, and writes the status, which the ManifestWork feeds back (`FEEDBACK`). The hub names a dataset and never a path,
a volume, a Secret, a command or a right: what is mounted comes from the site's own Dataset of that name.

A Collaborator without `aggregator` is a question: the agent judges it, and starts nothing. With an aggregator's address
its Job is started; taking the address away stops it. The structs accept whatever the CRD lets through
(`addon-templates/crds`); `spoke_agent.collaborator.admission` judges it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from federation.api.dataset import FEDERATION_GROUP
from federation.api.meta import Condition, Resource, Struct

ACCEPTED: Final = "Accepted"
"""Condition: the site takes part."""
RUNNING: Final = "Running"
"""Condition: the collaborator's container runs."""
FINISHED: Final = "Finished"
"""Condition: the Job has ended, well or not; the reason says which."""

COLLABORATOR_LABEL: Final = f"{FEDERATION_GROUP}/collaborator"
"""On Jobs, pods and NetworkPolicies of the site: whose they are."""
APPROVAL_PREFIX: Final = f"approval.{FEDERATION_GROUP}/"
"""Before `status.approval` in the annotation of the *Dataset* by which someone at the site approves a request. The hub
writes Collaborators and can't write Datasets, so an approval on the former would prove nothing."""
APPROVED: Final = "approved"
"""The value of that annotation."""

VALUE_LIMIT: Final = 1024
"""Bytes of a value that a ManifestWork feeds back (open-cluster-management.io/api `work/v1/types.go`)."""
PLAN_LIMIT: Final = 128 * 1024
"""Bytes of a plan's text. A site hands it on in a pod's annotations, which have 256 KiB in all (k8s.io/apimachinery
`pkg/api/validation/objectmeta.go`), and a work has 500 KiB (ocm's webhook of works, `common/validator.go`)."""
DEFAULT_PATIENCE: Final = 600
"""Seconds that a collaborator goes on looking for an aggregator that doesn't answer."""


class RunReference(Struct, frozen=True):
    """The FederatedLearning on the hub. The hub manager writes it from the resource, a user can't."""

    namespace: str = ""
    """The FederatedLearning's namespace."""
    name: str = ""
    """The FederatedLearning's name."""
    uid: str = ""
    """The FederatedLearning's uid."""
    id: str = ""
    """What names this attempt at the run in the exchange; a new one is a new Job. Empty: the uid."""

    @property
    def attempt(self) -> str:
        """The attempt's id."""
        return self.id or self.uid


class ContainerResources(Struct, frozen=True):
    """What the container reserves and may use, as quantities by resource name, GPUs (`nvidia.com/gpu`) included."""

    requests: dict[str, str | int] = msgspec.field(default_factory=dict)
    """What is reserved."""
    limits: dict[str, str | int] = msgspec.field(default_factory=dict)
    """What may be used at the most."""


class PlainVariable(Struct, frozen=True):
    """An environment variable with a plain value; the hub can't name a Secret of a site."""

    name: str = ""
    """The variable's name, not beginning with `FL_`."""
    value: str = ""
    """Its value."""


class RunPlan(Struct, frozen=True):
    """The run's plan, as a file of the image or as a text of the hub's; one of the two."""

    file: str = ""
    """A file of the image, relative to its workspace."""
    text: str = ""
    """The plan itself, at most 128 KiB: what the hub has exported, word for word."""


class AggregatorAddress(Struct, frozen=True):
    """Where the run's aggregator is reached from this site, once it is."""

    addresses: tuple[str, ...] = ()
    """`HOST:PORT`, IPv6 in brackets; the first is dialled. Whatever is dialled has to present the certificate of
    `RUN.NAMESPACE.aggregator.federated-learning.internal`, which the agent computes itself."""
    patience_seconds: int = DEFAULT_PATIENCE
    """How long the collaborator goes on when the aggregator doesn't answer."""


class CollaboratorSpec(Struct, frozen=True):
    """What the hub asks of the site."""

    run: RunReference = RunReference()
    dataset: str = ""
    """The name of a Dataset of the same namespace."""
    image: str = ""
    """The collaborator's image, with its registry."""
    framework: str = "openfl"
    """The run's framework."""
    resources: ContainerResources = ContainerResources()
    """What the container reserves and may use, GPUs (`nvidia.com/gpu`) included."""
    args: tuple[str, ...] = ()
    """For the image's own entry point, which stays."""
    env: tuple[PlainVariable, ...] = ()
    plan: RunPlan | None = None
    """By which plan the collaborator goes. Absent: the image's own."""
    aggregator: AggregatorAddress | None = None
    """Where the run's aggregator is reached from this site. Absent: nothing is to run, yet or any more."""
    active_deadline_seconds: int | None = None
    """How long the Job may take, from its start."""


class CollaboratorState(StrEnum):
    """A collaborator in one word, for whoever reads `status.state`."""

    REFUSED = "Refused"
    """The site does not take part; `status.reason` says why."""
    PENDING = "Pending"
    """Someone at the site has to approve it."""
    ACCEPTED = "Accepted"
    """The site takes part; nothing runs, as no aggregator is named."""
    STARTING = "Starting"
    """The Job is there; its container is not running."""
    RUNNING = "Running"
    """The container runs."""
    RETRYING = "Retrying"
    """The container has failed, and another is due."""
    SUCCEEDED = "Succeeded"
    """The Job has ended well."""
    FAILED = "Failed"
    """The Job has failed and is not tried again."""


class CollaboratorExit(Struct, frozen=True):
    """How the last container that failed did so; without a `reason`, none has."""

    code: int = 0
    """The exit status."""
    reason: str = ""
    """The runtime's (`WorkspaceFailed`), or else the kubelet's (`OOMKilled`)."""
    message: str = ""
    """What went wrong, in words."""
    exception: str = ""
    """The exception's class."""
    file: str = ""
    """Where it was raised: relative to the workspace where it is the user's code."""
    line: int = 0
    """The line of that file, from 1; 0 where none is known."""
    task: str = ""
    """The task of the plan in which it happened."""
    round: int = 0
    """The round in which it happened, from 1; 0 for none."""
    log: str = ""
    """The last lines of the container's log, where the runtime left no reason of its own."""


class CollaboratorStatus(Struct, frozen=True):
    """What became of it; no text is longer than 1,024 bytes."""

    observed_generation: int = 0
    """The generation of the spec that the rest speaks of."""
    run_id: str = ""
    """The attempt (`spec.run.id`) that the rest speaks of."""
    state: str = ""
    """The collaborator in one word."""
    reason: str = ""
    """The reason of the condition that matters most."""
    message: str = ""
    """The same in words: what to do, or what went wrong with file and line."""
    approval: str = ""
    """What names this very request in the annotation of the Dataset that approves it; it changes with what would be
    run."""
    restarts: int = 0
    """How many containers have failed."""
    exit: CollaboratorExit = CollaboratorExit()
    conditions: tuple[Condition, ...] = ()
    """Whether the site takes part, whether the container runs, and whether the Job has ended."""


class Collaborator(Resource, frozen=True):
    """One run's part at this site."""

    spec: CollaboratorSpec = CollaboratorSpec()
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
"""What a work that carries a Collaborator feeds back: names and JSONPaths, all of scalars. Absent: nothing to say."""
