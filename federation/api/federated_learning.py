"""A FederatedLearning: one federated run, its specification and its status.

The spec is a superset of the existing controller's (OCM addon-contrib, `federated-learning-controller`,
`api/v1alpha1/federatedlearning_types.go`): its users' manifests apply unchanged. The structs accept every object that
the CRD admits; `hub_manager.federated_learning.planning.validate` rejects what this version or this hub can't run.

Two controllers write the status, each by server-side apply on the fields that it owns: the hub manager the state of the
run as a whole, the aggregator the progress of its rounds. The docstring of each field names its owner.
"""

from typing import Annotated, Any, Final

import msgspec

from federation.api.collaborator import VariableName
from federation.api.dns_names import DNS_LABEL, DNS_NAME
from federation.api.meta import CustomResource, Struct
from federation.api.placement_schema import PLACEMENT_SPEC
from federation.api.run_status import FederatedLearningStatus
from federation.api.schema import (
    RELATIVE_PATH,
    REQUIRED,
    Int32,
    Int64,
    IntOrString,
    PrinterColumn,
    bounds,
    entries,
    items,
    length,
    matches,
    one_of,
    rule,
)

DEFAULT_ROUND_TIMEOUT: Final = 3600
"""Default of `spec.server.roundTimeoutSeconds`."""
LONGEST_SPAN: Final = 3_153_600_000
"""Maximum of a deadline or a time to live: a hundred years in seconds, so that its end can be written as a date."""


class Listener(Struct, frozen=True):
    """An endpoint of the aggregator; collaborators connect to the first listener that has an address."""

    cel_rules = (
        # `isIP` is available to new rules from Kubernetes 1.31 on only.
        rule(
            "!has(self.ip) || self.ip == '' || self.ip.split('.').size() == 4 && self.ip.split('.').all(part, "
            "part.matches('^(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$')) || "
            "self.ip.matches('^([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}$') || "
            "self.ip.matches('^(([0-9a-fA-F]{1,4}:)+|:)((:[0-9a-fA-F]{1,4})+|:)$') && "
            "self.ip.split(':').filter(group, group != '').size() <= 7",
            "write an IP address of a node, or use hostname for a DNS name",
            ".ip",
        ),
        rule(
            "!(self.type in ['Ingress', 'Route', 'Gateway']) || has(self.hostname) && self.hostname != ''",
            "set hostname to the DNS name to which collaborators connect: Ingress, Route and Gateway route by it",
            ".type",
        ),
    )

    name: Annotated[
        str, length(63), matches(DNS_LABEL, "use at most 63 lower-case letters, digits and '-'", or_empty=True)
    ] = ""
    """Name of the listener in `status.listeners`. If empty, `listener-` and its index."""
    port: Annotated[Int32, bounds(1, 65535)] = 8080
    """Port of the Service. For a NodePort also the port of the node, if it is within the cluster's range and free."""
    type: Annotated[str, one_of("LoadBalancer", "NodePort", "ClusterIP", "Ingress", "Route", "Gateway")] = (
        "LoadBalancer"
    )
    """How the aggregator is exposed. This version supports `LoadBalancer`, `NodePort` and `ClusterIP`."""
    ip: Annotated[str, length(45)] = ""
    """IP address of a node, for a NodePort whose nodes are reached at an address other than their own."""
    hostname: Annotated[
        str,
        length(253),
        matches(DNS_NAME, "write a DNS name in lower-case letters, digits, '-' and '.'", or_empty=True),
    ] = ""
    """DNS name to which collaborators connect, if it differs from the one that the cluster assigns."""
    class_name: Annotated[str, length(253)] = ""
    """Class of the load balancer, the Ingress or the Gateway."""
    annotations: Annotated[dict[str, Annotated[str, length(1024)]], entries(32)] = msgspec.field(default_factory=dict)
    """Annotations of the Service, for example for a cloud provider's load balancer."""


class S3(Struct, frozen=True):
    """An S3 bucket, with the fields of the existing controller."""

    bucket_name: Annotated[str, REQUIRED, length(255)] = ""
    """Name of the bucket."""
    region: Annotated[str, length(255)] = ""
    """Region of the bucket."""
    prefix: Annotated[str, length(1024)] = ""
    """Prefix of the object keys."""


class Storage(Struct, frozen=True):
    """Volume for the state of the rounds and for the model. It outlives the run."""

    cel_rules = (
        rule(
            "self.type != 'PersistentVolumeClaim' || has(self.name) && self.name != ''",
            "set name to that of a PersistentVolumeClaim; it is created if it does not exist",
            ".name",
        ),
        rule(
            "self.type != 'HostPath' || has(self.path) && self.path.startsWith('/')",
            "set path to an absolute folder on the hub's nodes",
            ".type",
        ),
        rule("self.type != 'S3Bucket' || has(self.s3)", "set s3.bucketName", ".type"),
    )

    name: Annotated[
        str,
        length(253),
        matches(
            DNS_NAME,
            "use the name of a PersistentVolumeClaim, in lower-case letters, digits, '-' and '.'",
            or_empty=True,
        ),
    ] = ""
    """Name of the PersistentVolumeClaim, which is created if it does not exist."""
    type: Annotated[str, one_of("PersistentVolumeClaim", "HostPath", "S3Bucket")] = "PersistentVolumeClaim"
    """Type of the volume. This version does not support `S3Bucket`, and supports `HostPath` only for folders that the
    hub's administrator allows."""
    size: Annotated[
        str,
        length(32),
        rule(
            "self == '' || isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
            "write a quantity such as 2Gi",
        ),
    ] = ""
    """Size of a claim that is created. If empty, 1Gi."""
    path: Annotated[
        str,
        length(1024),
        rule(
            "self == '' || self.startsWith('/') && size(self) > 1 && !self.contains(':') && "
            "!self.split('/').exists(part, part == '..')",
            "write an absolute path other than '/', without '..' and ':'",
        ),
    ] = ""
    """Mount path of the volume; for a HostPath also the folder on the node. If empty, `/models`."""
    storage_class_name: Annotated[str, length(253)] = ""
    """StorageClass of a claim that is created. If empty, the cluster's default."""
    retention_policy: Annotated[str, one_of("Retain", "Delete")] = "Retain"
    """With `Delete`, a claim that was created for the run is deleted with the FederatedLearning."""
    s3: S3 | None = None


class PlanSource(Struct, frozen=True):
    """Plan of the run, for the hub and all clusters: in a ConfigMap of the run's namespace or in the client image."""

    cel_rules = (
        rule(
            "!(has(self.configMap) && self.configMap != '' && has(self.path) && self.path != '')",
            "set either configMap or path",
        ),
    )

    config_map: Annotated[str, length(253)] = ""
    """Name of a ConfigMap in the run's namespace, with a plan of at most 128 KiB. The plan is copied when an attempt
    begins; later changes of the ConfigMap do not affect that attempt."""
    key: Annotated[
        str,
        length(253),
        rule(
            "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && self != '..'", "use letters, digits, '-', '_' and '.'"
        ),
    ] = "plan.yaml"
    """Key of the plan in the ConfigMap."""
    path: Annotated[str, length(1024), RELATIVE_PATH] = ""
    """File in the client's image, relative to its workspace. If both `path` and `configMap` are empty,
    `plan/plan.yaml`."""


class Aggregation(Struct, frozen=True):
    """How updates are aggregated into the next model."""

    algorithm: Annotated[str, one_of("WeightedMean", "Median", "TrimmedMean", "Momentum", "Adam", "Yogi")] = (
        "WeightedMean"
    )
    """`WeightedMean` weights updates by samples, unless the plan sets another function; `Median` and `TrimmedMean` are
    computed per coordinate and tolerate a minority of malicious updates; `Momentum`, `Adam` and `Yogi` are server
    optimizers on top of the weighted mean."""
    trim_ratio: Annotated[float, bounds(0, 0.49)] = 0.1
    """Fraction of updates that `TrimmedMean` drops at each end of each coordinate, from 0 to below 0.5."""
    learning_rate: Annotated[float, bounds(0, exclusive_minimum=True)] = 1.0
    """Learning rate of the server optimizers."""
    beta1: Annotated[float, bounds(0, 1, exclusive_maximum=True)] = 0.9
    """Momentum of the server optimizers."""
    beta2: Annotated[float, bounds(0, 1, exclusive_maximum=True)] = 0.99
    """Decay rate of the second moment, for `Adam` and `Yogi`."""
    epsilon: Annotated[float, bounds(0, exclusive_minimum=True)] = 0.001
    """Term that keeps the step finite where gradients vanish, for `Adam` and `Yogi`."""


_Quantities = Annotated[dict[str, Annotated[IntOrString, length(32)]], entries(16)]


class Resources(Struct, frozen=True):
    """Requests and limits of a container, as quantities by resource name."""

    requests: _Quantities = msgspec.field(default_factory=dict)
    """Amounts that the scheduler reserves."""
    limits: _Quantities = msgspec.field(default_factory=dict)
    """Maximum amounts; a limit without a request is also the request."""

    @property
    def reserved(self) -> dict[str, str | int]:
        """The amounts that a node must have free (kubernetes.io, "Resource Management")."""
        return self.limits | self.requests


class Toleration(Struct, frozen=True):
    """A taint that the aggregator's pod tolerates."""

    key: Annotated[str, length(316)] = ""
    """Key of the taint. If empty, with operator `Exists`, every taint."""
    operator: Annotated[str, one_of("Exists", "Equal")] = ""
    """How the value is compared. If empty, `Equal`."""
    value: Annotated[str, length(63)] = ""
    """Value of the taint."""
    effect: Annotated[str, one_of("NoSchedule", "PreferNoSchedule", "NoExecute")] = ""
    """Effect of the taint. If empty, every effect."""
    toleration_seconds: Int64 | None = None
    """Seconds for which a `NoExecute` taint is tolerated. If absent, without end."""


class NamedSecret(Struct, frozen=True):
    """A Secret in the run's namespace."""

    name: Annotated[str, REQUIRED, length(253, minimum=1)] = ""
    """Name of the Secret."""


class ServerSpec(Struct, frozen=True):
    """The aggregator, on the hub."""

    cel_rules = (
        rule(
            "!has(self.minClientsPerRound) || self.minClientsPerRound == 0 || "
            "self.minClientsPerRound <= (has(self.minAvailableClients) ? self.minAvailableClients : 1)",
            "set minClientsPerRound to at most minAvailableClients: a run may start with that many clusters, and no "
            "round could close",
            ".minClientsPerRound",
        ),
    )

    image: Annotated[str, length(512)] = ""
    """Image of the aggregator, in place of the default. A value equal to `spec.client.image` is ignored: that image
    contains the workspace, and the aggregator runs no code of it."""
    rounds: Annotated[Int32, bounds(1, 1_000_000)] = 0
    """Number of rounds. Overrides `rounds_to_train` in the plan."""
    min_available_clients: Annotated[Int32, bounds(1, 10_000)] = 0
    """Number of clusters that must accept before the run starts. If absent, 1."""
    listeners: Annotated[tuple[Listener, ...], items(8)] = ()
    """Endpoints of the aggregator; collaborators connect to the first that has an address."""
    storage: Storage = Storage()
    superlink: Annotated[str, length(512)] = "superlink.flower-system:9091"
    """Host and port of Flower's SuperLink."""
    plan: PlanSource | None = None
    aggregation: Aggregation = Aggregation()
    round_timeout_seconds: Annotated[Int32, bounds(1, 31_536_000)] = DEFAULT_ROUND_TIMEOUT
    """Seconds after which a round closes if it has `minClientsPerRound` updates. Otherwise the round is extended once
    by the same time, and then the run fails."""
    min_clients_per_round: Annotated[Int32, bounds(0, 10_000)] = 0
    """Number of updates with which a round closes at its timeout. If 0 or absent, `minAvailableClients`."""
    max_samples_per_client: Annotated[Int64, bounds(1, 1 << 40)] | None = None
    """Maximum number of samples of an update, which limits the weight of a cluster; an update with more is rejected. If
    absent, 2^40."""
    join_policy: Annotated[str, one_of("Frozen", "NextRound")] = "Frozen"
    """With `Frozen`, the cohort does not change after the start. With `NextRound`, clusters that are selected later
    join the next round, and rounds no longer wait for clusters that are deselected."""
    resources: Resources = Resources()
    """Requests and limits of the aggregator, and of the workspace's export before it."""
    node_selector: Annotated[dict[str, Annotated[str, length(63)]], entries(32)] = msgspec.field(default_factory=dict)
    """Labels of the hub's nodes on which the aggregator can run."""
    tolerations: Annotated[tuple[Toleration, ...], items(32)] = ()
    """Taints of the hub's nodes that the aggregator tolerates."""
    image_pull_secrets: Annotated[tuple[NamedSecret, ...], items(16)] = ()
    """Secrets in the run's namespace for pulling the images of the aggregator's pod; a site needs its own
    pull secrets."""

    @property
    def quorum(self) -> int:
        """The number of clusters that must be ready before the run starts, at least one."""
        return max(1, self.min_available_clients)

    @property
    def round_quorum(self) -> int:
        """The number of updates with which a round closes at its timeout, at least one."""
        return self.min_clients_per_round or self.quorum


class EnvironmentVariable(Struct, frozen=True):
    """An environment variable with a plain value; the hub can't refer to a Secret of a site."""

    name: VariableName
    """Name of the variable; the prefix `FL_` is reserved."""
    value: Annotated[str, length(4096)] = ""
    """Value of the variable."""


class ClientSpec(Struct, frozen=True):
    """The collaborators, one at each cluster."""

    image: Annotated[str, length(512)] = ""
    """Image that contains your workspace; a site's policy may require its digest."""
    placement: Annotated[dict[str, Any], PLACEMENT_SPEC] = msgspec.field(default_factory=dict)
    """Clusters that are asked to take part: a PlacementSpec of `cluster.open-cluster-management.io/v1beta1`, to which
    predicates for `dataset` and `resources` are added."""
    supernode: Annotated[str, length(512)] = "flower-supernode.flower-addon:9094"
    """Flower's SuperNode at the clusters, as `service.namespace:port`."""
    dataset: Annotated[
        str,
        length(63),
        matches(DNS_LABEL, "use the name of a Dataset, at most 63 lower-case letters, digits and '-'", or_empty=True),
    ] = ""
    """Name of the Dataset that a cluster must offer. If empty, the existing controller's convention applies: the data
    key is the last claim that the placement requires to exist."""
    resources: Resources = Resources()
    """Requests and limits of a collaborator. Requests for CPU, memory and GPUs narrow the placement."""
    args: Annotated[tuple[Annotated[str, length(4096)], ...], items(64)] = ()
    """Arguments for the image's entry point, which can't be replaced. OpenFL's entry point takes none."""
    env: Annotated[
        tuple[EnvironmentVariable, ...],
        items(64),
        rule("self.all(one, self.exists_one(other, other.name == one.name))", "write each variable once"),
    ] = ()
    """Environment variables of the collaborator, with plain values; the hub can't refer to a Secret of a site."""


class FederatedLearningSpec(Struct, frozen=True):
    """Specification of the run."""

    cel_rules = (
        rule(
            "self.framework == 'flower' || has(self.server) && has(self.server.rounds)",
            "set spec.server.rounds to the number of rounds, 1 or more",
            ".server",
        ),
        rule(
            "self.framework == 'flower' || has(self.server) && has(self.server.listeners) && "
            "size(self.server.listeners) > 0",
            "set spec.server.listeners, through which collaborators reach the aggregator, for example to one of type "
            "LoadBalancer with port 8080",
            ".server",
        ),
        rule(
            "self.framework == 'flower' || has(self.server) && has(self.server.storage)",
            "set spec.server.storage, where the model is stored, for example to type PersistentVolumeClaim with a name "
            "and a size",
            ".server",
        ),
        rule(
            "has(self.client) && has(self.client.image) && self.client.image != ''",
            "set spec.client.image to the image that contains your workspace",
            ".client",
        ),
    )

    framework: Annotated[str, one_of("openfl", "flower", "other")] = "other"
    """Training framework; with `other`, the image contains its own runtime for the exchange protocol. This version does
    not run `flower`."""
    server: ServerSpec = ServerSpec()
    client: ClientSpec = ClientSpec()
    suspend: bool = False
    """Stops the run; once it is false again, the run resumes from its last checkpoint."""
    active_deadline_seconds: Annotated[Int64, bounds(1, LONGEST_SPAN)] | None = None
    """Seconds after its start, including the time in phase `Waiting`, at which an unfinished run fails."""
    ttl_seconds_after_finished: Annotated[Int64, bounds(0, LONGEST_SPAN)] | None = None
    """Seconds after the end of the run at which its objects are deleted, except this resource and the volume. If
    absent, they are kept."""


class FederatedLearning(CustomResource, frozen=True):
    """One federated run: clusters train a model together on data that does not leave them; only model updates do."""

    cel_rules = (
        rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')",
            "rename the FederatedLearning: at most 52 lower-case letters, digits and '-', beginning with a letter and "
            "ending with a letter or digit; its Service and its aggregator's certificate use the name",
        ),
    )
    short_names = ("fl",)
    printer_columns = (
        PrinterColumn("Phase", ".status.phase"),
        PrinterColumn("Round", ".status.summary.round"),
        PrinterColumn("Clusters", ".status.summary.clusters", description="Ready and selected clusters."),
        PrinterColumn("Metric", ".status.summary.metric"),
        PrinterColumn("Message", ".status.message", priority=1),
    )

    spec: Annotated[FederatedLearningSpec, REQUIRED] = FederatedLearningSpec()
    status: FederatedLearningStatus = FederatedLearningStatus()
