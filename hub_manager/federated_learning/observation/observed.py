"""Hold everything that was read about one run in one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from federation.api.aggregator_run import COHORT_FILE
from federation.api.federated_learning import FederatedLearning
from federation.api.kubernetes.core import ConfigMap, Role, RoleBinding
from federation.api.kubernetes.run_objects import (
    AggregatorPod,
    Job,
    NetworkPolicy,
    NodeAddresses,
    PersistentVolumeClaim,
    Placement,
    Service,
    ServiceAccount,
)
from federation.api.ocm.work import ManifestWork
from hub_manager.federated_learning.resources.certificate import AggregatorAuthorityFacts
from hub_manager.federated_learning.resources.names import ATTEMPT_LABEL
from hub_manager.federated_learning.site import RunCluster


@dataclass(frozen=True, slots=True)
class ConfigMapLookup:
    """Result of reading a ConfigMap by name; None if it does not exist."""

    config_map: ConfigMap | None


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """Observed state of one run; objects in its namespace are included only if they bear the run's uid."""

    now: datetime
    run: FederatedLearning
    placement: Placement | None
    selected: tuple[str, ...]
    """Names of the clusters that the Placement selects."""
    bindings: frozenset[str]
    """Cluster sets to which the run's namespace is bound."""
    sites: Mapping[str, RunCluster]
    """Selected clusters and cohort members that the hub knows, by name."""
    works: tuple[ManifestWork, ...]
    """ManifestWorks with the run's uid, of all attempts and clusters."""
    job: Job | None
    services: tuple[Service, ...]
    """Services with the run's uid, sorted by name."""
    claim: PersistentVolumeClaim | None
    """Volume claim of the run; the user may have created it."""
    config_map: ConfigMap | None
    service_account: ServiceAccount | None
    role: Role | None
    role_binding: RoleBinding | None
    network_policy: NetworkPolicy | None
    nodes: tuple[NodeAddresses, ...]
    authority: AggregatorAuthorityFacts | None
    api_server: frozenset[tuple[str, int]] = frozenset()
    """Addresses and ports of the hub's API server; empty if unknown."""
    pods: tuple[AggregatorPod, ...] = ()
    """Pods of the aggregator, of all attempts."""
    plan_source: ConfigMapLookup | None = None
    """ConfigMap that the run names as its plan; None while it has not been read."""
    plan_copy: ConfigMap | None = None
    """The run's copy of the plan, of any attempt."""
    refusals: tuple[str, ...] = ()
    """Errors of the server for objects of this run that it rejected in the previous pass."""

    def job_of(self, attempt: int) -> Job | None:
        """Return the Job of the attempt, or None if it is missing or belongs to another attempt."""
        job = self.job
        return job if job is not None and job.metadata.labels.get(ATTEMPT_LABEL) == str(attempt) else None

    def chosen(self, work: str) -> frozenset[str]:
        """Return the clusters that are known to be chosen for the attempt whose ManifestWorks have this name.

        Either the Placement selects them now, or their ManifestWork exists in the cluster's namespace, where neither
        the user nor the aggregator can write. `status.cohort` is not sufficient, because the aggregator's token can
        patch the status.
        """
        return frozenset(self.selected) | {w.metadata.namespace for w in self.works if w.metadata.name == work}

    @property
    def cohort_text(self) -> str:
        """Return the `cohort.json` of the run's ConfigMap, of any attempt, or `""`."""
        return "" if self.config_map is None else self.config_map.data.get(COHORT_FILE, "")

    def service(self, name: str) -> Service | None:
        """Return the run's Service of this name, or None."""
        return next((service for service in self.services if service.metadata.name == name), None)
