"""Export metrics of the runs from the hub manager; the aggregator exports the metrics of rounds."""

from prometheus_client import CollectorRegistry, Gauge

from federation.api.federated_learning import FederatedLearning
from federation.api.run_status import Phase
from federation.kube.resource import ObjectKey


class RunMetrics:
    """Gauges of the runs: one series for each run and phase, 1 for the current phase, and the size of each cohort."""

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
        """Set the series of a run."""
        where = (run.metadata.namespace, run.metadata.name)
        self._known.add(where)
        for phase in Phase:
            self._phase.labels(*where, phase.value).set(run.status.phase == phase.value)
        self._cohort.labels(*where).set(len(run.status.cohort))

    def forget(self, key: ObjectKey) -> None:
        """Remove the series of a deleted run."""
        if (key.namespace, key.name) not in self._known:
            return
        self._known.discard((key.namespace, key.name))
        for phase in Phase:
            self._phase.remove(key.namespace, key.name, phase.value)
        self._cohort.remove(key.namespace, key.name)
