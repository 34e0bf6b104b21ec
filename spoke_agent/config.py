"""The agent's settings, from its environment: read once, checked at once, and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from federation.environment import LABEL, NAME, Environment
from federation.logging import LogLevel


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of the agent and its place in the fleet."""

    cluster: str
    """The ManagedCluster's name, which is also that of its namespace on the hub."""
    namespace: str
    """The add-on's install namespace, which has the Datasets and the Lease."""
    hub_kubeconfig: Path
    """The kubeconfig in the klusterlet's Secret; missing until the hub has approved the add-on's request."""
    identity: str
    """The Lease's holder."""
    claim_owner: str
    """The ClusterRole that owns our claims (`spoke_agent.claims.ownership`)."""
    spoke_kubeconfig: Path | None
    """For an agent that runs outside the spoke; None for its pod's own service account."""
    port: int
    log_level: LogLevel


def config_from(variables: Mapping[str, str]) -> Config:
    """Parse the settings from the environment variables.

    Raises:
        ConfigError: One or more are missing or invalid.
    """
    environment = Environment(variables)
    hub_kubeconfig = Path(environment.optional("HUB_KUBECONFIG") or "/managed/hub-kubeconfig/kubeconfig")
    if not hub_kubeconfig.is_absolute():
        environment.refuse("HUB_KUBECONFIG", "write an absolute path")
    spoke_kubeconfig = environment.optional("SPOKE_KUBECONFIG")
    config = Config(
        cluster=environment.text("CLUSTER_NAME", "", LABEL, "write the ManagedCluster's name"),
        namespace=environment.text(
            "INSTALL_NAMESPACE", "open-cluster-management-agent-addon", LABEL, "write the agent's namespace"
        ),
        hub_kubeconfig=hub_kubeconfig,
        identity=environment.text("POD_NAME", "federated-learning-agent", NAME, "write the pod's name"),
        claim_owner=environment.text(
            "CLAIM_OWNER", "federated-learning-agent", NAME, "write the name of the agent's ClusterRole"
        ),
        spoke_kubeconfig=Path(spoke_kubeconfig) if spoke_kubeconfig else None,
        port=environment.number("PORT", 8080, 1, 65535),
        log_level=environment.log_level(),
    )
    environment.check()
    return config
