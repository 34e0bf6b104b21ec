"""Everything that was read of one run, in one frozen value; and what is the same for every run."""

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
from hub_manager.federated_learning.resources.certificate import AuthorityFacts
from hub_manager.federated_learning.resources.names import ATTEMPT_LABEL
from hub_manager.federated_learning.site import ObservedSite


@dataclass(frozen=True, slots=True)
class ConfigMapLookup:
    """What there is of a ConfigMap that was looked for by its name."""

    config_map: ConfigMap | None


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """What was read of one run. Objects of the run's namespace count only when they bear the run's uid."""

    now: datetime
    run: FederatedLearning
    placement: Placement | None
    selected: tuple[str, ...]
    """The clusters that the placement has chosen, by name."""
    bindings: frozenset[str]
    """The cluster sets that the run's namespace is bound to."""
    sites: Mapping[str, ObservedSite]
    """The selected clusters, and those of the cohort, as far as the hub knows them."""
    works: tuple[ManifestWork, ...]
    """Every work with the run's uid, of whatever attempt, in whatever cluster's namespace."""
    job: Job | None
    services: tuple[Service, ...]
    """Those with the run's uid, by name."""
    claim: PersistentVolumeClaim | None
    """The volume's claim, whoever made it."""
    config_map: ConfigMap | None
    service_account: ServiceAccount | None
    role: Role | None
    role_binding: RoleBinding | None
    network_policy: NetworkPolicy | None
    nodes: tuple[NodeAddresses, ...]
    authority: AuthorityFacts | None
    api_server: frozenset[tuple[str, int]] = frozenset()
    """Addresses and ports behind the hub's API server's Service; empty when unknown."""
    pods: tuple[AggregatorPod, ...] = ()
    """The aggregator's, of whatever attempt."""
    plan_source: ConfigMapLookup | None = None
    """The ConfigMap that the run names as its plan, whoever made it; None while it has not been looked for."""
    plan_copy: ConfigMap | None = None
    """The run's own copy of the plan, of whatever attempt."""
    refusals: tuple[str, ...] = ()
    """What the server has refused of this run's objects since they were last planned otherwise, in its words."""

    def job_of(self, attempt: int) -> Job | None:
        """The attempt's Job, or None: another attempt's is not it."""
        found = self.job
        return found if found is not None and found.metadata.labels.get(ATTEMPT_LABEL) == str(attempt) else None

    def chosen(self, work: str) -> frozenset[str]:
        """The clusters that the hub manager itself knows to have been chosen for the attempt whose works bear the name.

        Either the Placement chooses them now, or their work is there: it is in the cluster's own namespace, where
        neither the user nor the aggregator's token can write. `status.cohort` alone proves nothing, as that token may
        patch the status.
        """
        return frozenset(self.selected) | {w.metadata.namespace for w in self.works if w.metadata.name == work}

    @property
    def cohort_text(self) -> str:
        """The `cohort.json` of the run's ConfigMap, of whatever attempt; `""` where there is none."""
        return "" if self.config_map is None else self.config_map.data.get(COHORT_FILE, "")

    def service(self, name: str) -> Service | None:
        """The run's Service of that name."""
        return next((service for service in self.services if service.metadata.name == name), None)
