"""Every metric of ours, by the process that serves it."""

from prometheus_client import CollectorRegistry

from hub_manager.aggregator.reporting.telemetry import AggregatorTelemetry
from hub_manager.certificates.decision_recorder import certificate_metrics
from hub_manager.federated_learning.metrics import RunMetrics
from spoke_agent.metrics import AgentMetrics


def registries() -> dict[str, CollectorRegistry]:
    """Return the metrics of the hub manager, an aggregator and an agent at `/metrics`, without those of Python."""
    hub, aggregator, agent = CollectorRegistry(), CollectorRegistry(), CollectorRegistry()
    certificate_metrics(hub)
    RunMetrics(hub)
    AggregatorTelemetry(aggregator)
    AgentMetrics(agent)
    return {"hub": hub, "aggregator": aggregator, "agent": agent}
