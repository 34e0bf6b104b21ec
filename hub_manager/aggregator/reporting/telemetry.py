"""Report rounds and calls: metrics for Prometheus, and audit lines for refusals.

A label has a cluster of the cohort or `other`, so that other certificate holders can't add series.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog
from cryptography import x509
from prometheus_client import CollectorRegistry, Counter, Gauge, Summary

from federation.rpc.refusal import Refused
from hub_manager.aggregator.rate_limit import LogSampler
from hub_manager.aggregator.rounds.state import Phase, State

OTHER: Final = "other"

_log = structlog.stdlib.get_logger(__name__)


class AggregatorTelemetry:
    """The metrics and the audit log of one aggregator."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        """Register the metrics; `clock` returns seconds."""
        self._clock = clock
        self._lines = LogSampler()
        self._received = Counter(
            "federated_learning_aggregator_received_bytes", "Model bytes received.", ["cluster"], registry=registry
        )
        self._sent = Counter(
            "federated_learning_aggregator_sent_bytes", "Model bytes sent.", ["cluster"], registry=registry
        )
        self._refused = Counter(
            "federated_learning_aggregator_refusals", "Calls refused.", ["cluster", "reason"], registry=registry
        )
        self._connected = Gauge(
            "federated_learning_aggregator_work_streams", "Collaborators that wait for work.", registry=registry
        )
        self._expiry = Gauge(
            "federated_learning_aggregator_certificate_expiry_timestamp_seconds",
            "When the aggregator's certificate ends, in seconds since the epoch.",
            registry=registry,
        )

        self._round = Gauge("federated_learning_aggregator_round", "The round in work.", registry=registry)
        self._final_evaluation = Gauge(
            "federated_learning_aggregator_final_evaluation",
            "1 while the clusters validate the final model, otherwise 0.",
            registry=registry,
        )
        self._rounds = Gauge("federated_learning_aggregator_rounds", "The run's rounds.", registry=registry)
        self._cohort = Gauge(
            "federated_learning_aggregator_cohort_size", "Clusters that may take part now.", registry=registry
        )
        self._counted = Gauge(
            "federated_learning_aggregator_updates_counted", "Updates that count in the round.", registry=registry
        )
        self._fold = Summary(
            "federated_learning_aggregator_fold_duration_seconds",
            "What folding and storing a round's model takes.",
            registry=registry,
        )

    def run_seen(self, state: State) -> None:
        """Set the gauges of the run from its state."""
        self._round.set(state.reported_round)
        self._final_evaluation.set(state.phase is Phase.EVALUATING)
        self._rounds.set(state.parameters.rounds)
        self._cohort.set(len(state.members))
        self._counted.set(len(state.parts))

    def folded(self, seconds: float) -> None:
        """Record the duration of a fold, or of storing the initial model."""
        self._fold.observe(seconds)

    def received(self, cluster: str, size: int) -> None:
        """Count model bytes received from a member of the cohort."""
        self._received.labels(cluster).inc(size)

    def sent(self, cluster: str, size: int) -> None:
        """Count model bytes sent to a member of the cohort."""
        self._sent.labels(cluster).inc(size)

    def work_stream_opened(self, cluster: str) -> None:
        """Record that a collaborator has opened its stream of work."""
        self._connected.inc()
        _log.info("collaborator_connected", cluster=cluster)

    def work_stream_closed(self, cluster: str) -> None:
        """Record that a collaborator's stream of work has ended."""
        self._connected.dec()
        _log.info("collaborator_disconnected", cluster=cluster)

    def certificate_shown(self, leaf: x509.Certificate) -> None:
        """Record the expiry of the certificate that the aggregator presents."""
        self._expiry.set(leaf.not_valid_after_utc.timestamp())

    def refused(self, refusal: Refused, *, cluster: str | None, member: bool, method: str, address: str) -> bool:
        """Count a refused call, and log it unless the peer's refusals of this kind exceed their rate limit.

        Args:
            refusal: Reason and message.
            cluster: The caller by its certificate; None without a collaborator certificate.
            member: Whether the cluster is in the cohort.
            method: Name of the method.
            address: Where the connection came from, as gRPC has it.

        Returns:
            Whether the refusal was logged.
        """
        label = cluster if member and cluster is not None else OTHER
        self._refused.labels(label, refusal.reason).inc()
        left_out = self._lines.take(cluster, refusal.reason, self._clock())
        if left_out is None:
            return False
        _log.warning(
            "call_refused",
            cluster=cluster,
            reason=refusal.reason,
            message=refusal.message,
            method=method,
            address=address,
            **({"left_out": left_out} if left_out else {}),
        )
        return True
