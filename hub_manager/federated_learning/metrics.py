"""The metrics of the runs, as the hub manager sees them; those of the rounds are the aggregator's own."""

from prometheus_client import CollectorRegistry, Gauge

from federation.api.federated_learning import FederatedLearning
from federation.api.run_status import Phase
from federation.kube.resource import ObjectKey


class RunMetrics:
    """One series for each run and phase: 1 in the phase that it is in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ("namespace", "name")
        self._known: set[tuple[str, str]] = set()
        self._phase = Gauge(
            "federated_learning_run_phase", "1 for the phase that the run is in", (*names, "phase"), registry=registry
        )
        self._cohort = Gauge(
            "federated_learning_run_cohort_size", "Clusters that take part in the run", names, registry=registry
        )

    def observe(self, run: FederatedLearning) -> None:
        """Takes the run's figures."""
        where = (run.metadata.namespace, run.metadata.name)
        self._known.add(where)
        for phase in Phase:
            self._phase.labels(*where, phase.value).set(run.status.phase == phase.value)
        self._cohort.labels(*where).set(len(run.status.cohort))

    def forget(self, key: ObjectKey) -> None:
        """Drops the series of a run that is gone."""
        if (key.namespace, key.name) not in self._known:
            return
        self._known.discard((key.namespace, key.name))
        for phase in Phase:
            self._phase.remove(key.namespace, key.name, phase.value)
        self._cohort.remove(key.namespace, key.name)
