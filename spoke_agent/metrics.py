"""Prometheus metrics of the agent."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class AgentMetrics:
    """Metrics of the agent, in a separate registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.claim_writes = Counter(
            "federated_learning_agent_claim_writes",
            "ClusterClaims written, by what was done.",
            ["action"],
            registry=registry,
        )
        self.datasets = Gauge(
            "federated_learning_agent_datasets",
            "Datasets, by whether they are published.",
            ["published"],
            registry=registry,
        )
        self.foreign_claims = Gauge(
            "federated_learning_agent_foreign_claims",
            "ClusterClaims of the agent's names that someone else made and that it therefore can't write.",
            registry=registry,
        )
        self.score_writes = Counter(
            "federated_learning_agent_score_writes", "Writes of the AddOnPlacementScore on the hub.", registry=registry
        )
        self.scores_valid_until = Gauge(
            "federated_learning_agent_scores_valid_until_timestamp_seconds",
            "When the scores that the hub has expire.",
            registry=registry,
        )
        self.lease_renewals = Counter(
            "federated_learning_agent_lease_renewals", "Renewals of the add-on's Lease.", registry=registry
        )
        self.health_problems = Gauge(
            "federated_learning_agent_ailments",
            "Reasons for which the add-on's Lease is not renewed.",
            registry=registry,
        )
        self.collaborator_actions = Counter(
            "federated_learning_agent_collaborator_actions",
            "What was done to collaborators' Jobs and NetworkPolicies.",
            ["action"],
            registry=registry,
        )
        self.collaborators = Gauge(
            "federated_learning_agent_collaborators", "Collaborators, by their state.", ["state"], registry=registry
        )
