"""A FederatedLearning: one federated run, from what the user asks for to what became of it.

The spec is a superset of the existing controller's (OCM addon-contrib, `federated-learning-controller`,
`api/v1alpha1/federatedlearning_types.go`): its users' manifests apply unchanged. The structs accept whatever the CRD
lets through (`manifests/crds`); `hub_manager.federated_learning.planning.validate` says what of it can't be run.

Two write its status, each by server-side apply on the fields that are its own: the hub manager what is observed of the
run as a whole, the aggregator what happens in its rounds. The docstring of each field says whose it is.
"""

from typing import Any, Final

import msgspec

from federation.api.dataset import FEDERATION_GROUP, FEDERATION_VERSION
from federation.api.meta import Resource, Struct
from federation.api.run_status import FederatedLearningStatus

__all__ = ["FEDERATION_GROUP", "FEDERATION_VERSION", "FederatedLearning", "FederatedLearningSpec"]

DEFAULT_ROUND_TIMEOUT: Final = 3600
"""Seconds that a round lasts at the most where the spec says nothing."""
LONGEST_SPAN: Final = 3_153_600_000
"""Seconds, a hundred years: no deadline or time to live is longer, so that its end is a date that can be written."""


class Listener(Struct, frozen=True):
    """One way in which collaborators reach the aggregator; the first that is ready is the one they dial."""

    name: str = ""
    """By which `status.listeners` speaks of it. Empty: `listener-` and its place."""
    port: int = 8080
    """The Service's port; of a NodePort the node's port too, where it lies in the cluster's range and is free."""
    type: str = "LoadBalancer"
    """How the aggregator is exposed. This version makes `LoadBalancer`, `NodePort` and `ClusterIP`."""
    ip: str = ""
    """The address of a node, for a NodePort whose nodes are reached by another address than their own."""
    hostname: str = ""
    """The DNS name by which sites dial, where it is not the one that the cluster gives."""
    class_name: str = ""
    """The class of the load balancer, the Ingress or the Gateway."""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    """For the Service, as a cloud's load balancer wants them."""


class S3(Struct, frozen=True):
    """A bucket, in the existing controller's terms."""

    bucket_name: str = ""
    """The bucket."""
    region: str = ""
    """Its region."""
    prefix: str = ""
    """What its keys begin with."""


class Storage(Struct, frozen=True):
    """Where rounds are kept and the model ends up. It outlives the run."""

    name: str = ""
    """The PersistentVolumeClaim, made where there is none of the name."""
    type: str = "PersistentVolumeClaim"
    """What the volume is. This version keeps no model in an `S3Bucket`, and one in a `HostPath` only where the hub's
    administrator allows the folder."""
    size: str = ""
    """Of a claim that is made. Empty: 1Gi."""
    path: str = ""
    """Where the volume is mounted; of a HostPath, the node's folder as well. Empty: `/models`."""
    storage_class_name: str = ""
    """Of a claim that is made. Empty: the cluster's default."""
    retention_policy: str = "Retain"
    """With `Delete`, a claim that was made for the run goes with the resource."""
    s3: S3 | None = None


class PlanSource(Struct, frozen=True):
    """The run's plan, for the hub and every site: in a ConfigMap of the run's namespace, or in the client's image."""

    config_map: str = ""
    """A ConfigMap of the run's namespace; at most 128 KiB. Its text is copied when an attempt begins, and holds for
    that attempt whatever becomes of the ConfigMap."""
    key: str = "plan.yaml"
    """The ConfigMap's key."""
    path: str = ""
    """A file of the client's image, relative to its workspace. Empty, without a ConfigMap: `plan/plan.yaml`."""


class Aggregation(Struct, frozen=True):
    """How updates become the next model."""

    algorithm: str = "WeightedMean"
    """`WeightedMean` weighs by samples, or is what the plan says; `Median` and `TrimmedMean` go coordinate by
    coordinate and withstand a minority of false updates; `Momentum`, `Adam` and `Yogi` are server optimizers over the
    weighted mean."""
    trim_ratio: float = 0.1
    """Of TrimmedMean: the share of updates dropped at either end of each coordinate, from 0 to below 0.5."""
    learning_rate: float = 1.0
    """Of the server optimizers."""
    beta1: float = 0.9
    """Of the server optimizers: the momentum."""
    beta2: float = 0.99
    """Of Adam and Yogi: the decay of the second moment."""
    epsilon: float = 0.001
    """Of Adam and Yogi: what keeps the step finite where gradients vanish."""


class Resources(Struct, frozen=True):
    """What a container reserves and may use, as quantities by resource name."""

    requests: dict[str, str | int] = msgspec.field(default_factory=dict)
    """What is reserved."""
    limits: dict[str, str | int] = msgspec.field(default_factory=dict)
    """What may be used at the most; where nothing is said of it in `requests`, it is reserved too."""

    @property
    def reserved(self) -> dict[str, str | int]:
        """What a node has to have free: a limit without a request is one (kubernetes.io, "Resource Management")."""
        return self.limits | self.requests


class Toleration(Struct, frozen=True):
    """A taint that does not keep the aggregator off a node."""

    key: str = ""
    """The taint's key. Empty, with `Exists`: every taint."""
    operator: str = ""
    """How the value is compared. Empty: `Equal`."""
    value: str = ""
    """The taint's value."""
    effect: str = ""
    """The taint's effect. Empty: every effect."""
    toleration_seconds: int | None = None
    """How long a `NoExecute` taint is borne. Absent: for ever."""


class NamedSecret(Struct, frozen=True):
    """A Secret of the run's namespace."""

    name: str = ""
    """The Secret's name."""


class ServerSpec(Struct, frozen=True):
    """The aggregator, on the hub."""

    image: str = ""
    """Overrides the aggregator's image. The same as `spec.client.image` overrides nothing: that image holds the
    workspace, and the aggregator runs none of its code."""
    rounds: int = 0
    """How many rounds are run; it counts, whatever number the plan has."""
    min_available_clients: int = 0
    """How many sites have to be ready before the run starts; 1 where it is not set."""
    listeners: tuple[Listener, ...] = ()
    """How the sites reach the aggregator; they dial the first that has an address."""
    storage: Storage = Storage()
    superlink: str = "superlink.flower-system:9091"
    """Flower's SuperLink, as host and port."""
    plan: PlanSource | None = None
    aggregation: Aggregation = Aggregation()
    round_timeout_seconds: int = DEFAULT_ROUND_TIMEOUT
    """How long a round may last. With enough updates it closes then; without, it has as long once more, and then the
    run fails."""
    min_clients_per_round: int = 0
    """How many updates a round needs once its time is up; 0, or not set, means as many as `minAvailableClients`."""
    max_samples_per_client: int | None = None
    """How many samples a site may say that an update was trained on: an update with more is refused, so that no site's
    word weighs more than that. Absent: 2^40."""
    join_policy: str = "Frozen"
    """`Frozen`: whoever is in at the start is in to the end. `NextRound`: sites selected later join the next round, and
    nobody waits any more for those that are deselected."""
    resources: Resources = Resources()
    """What the aggregator, and before it the export of the workspace, reserves and may use."""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    """Labels of the hub's nodes on which the aggregator may run."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of the hub's nodes that do not keep the aggregator off."""
    image_pull_secrets: tuple[NamedSecret, ...] = ()
    """Secrets of the run's namespace for the aggregator's pod; a site pulls with its own."""

    @property
    def quorum(self) -> int:
        """How many sites have to be ready before the run starts, at least one."""
        return max(1, self.min_available_clients)

    @property
    def round_quorum(self) -> int:
        """How many updates a round needs once its time is up, at least one."""
        return self.min_clients_per_round or self.quorum


class EnvironmentVariable(Struct, frozen=True):
    """A plain value; the hub can't name a Secret of a site."""

    name: str
    """The variable's name, not beginning with `FL_`."""
    value: str = ""
    """Its value."""


class ClientSpec(Struct, frozen=True):
    """The collaborators, one at each site."""

    image: str = ""
    """The image that holds your workspace; a site's policy may ask for its digest."""
    placement: dict[str, Any] = msgspec.field(default_factory=dict)
    """Which clusters are asked to take part: a PlacementSpec of `cluster.open-cluster-management.io/v1beta1`, to which
    the predicates of `dataset` and `resources` are added."""
    supernode: str = "flower-supernode.flower-addon:9094"
    """Flower's SuperNode at the sites, as `service.namespace:port`."""
    dataset: str = ""
    """The Dataset that a site has to offer. Empty: the existing convention, whose data key is the last claim that the
    placement asks to exist."""
    resources: Resources = Resources()
    """What a collaborator reserves and may use. CPU, memory and GPUs that are requested narrow the placement."""
    args: tuple[str, ...] = ()
    """For the image's own entry point, which stays. OpenFL's takes none."""
    env: tuple[EnvironmentVariable, ...] = ()
    """Variables of the collaborator's container, with plain values: the hub can't name a Secret of a site."""


class FederatedLearningSpec(Struct, frozen=True):
    """What the user asks for."""

    framework: str = "other"
    """What trains at the sites; `other` is an image with a runtime of its own that speaks the exchange. This version
    doesn't run `flower`."""
    server: ServerSpec = ServerSpec()
    client: ClientSpec = ClientSpec()
    suspend: bool = False
    """Stops the run; it goes on from its last checkpoint."""
    active_deadline_seconds: int | None = None
    """The run fails when it has not ended so long after its start, waiting included."""
    ttl_seconds_after_finished: int | None = None
    """How long what belongs to the ended run stays, this resource and the volume excepted. Absent: for ever."""


class FederatedLearning(Resource, frozen=True):
    """One federated run."""

    spec: FederatedLearningSpec = FederatedLearningSpec()
    status: FederatedLearningStatus = FederatedLearningStatus()
