"""The settings of the certificates, and their consistency."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from hub_manager.certificates.requests.decision import Retention
from hub_manager.certificates.requests.policy import RequestRules
from hub_manager.certificates.signer.authority import AuthoritySchedule
from hub_manager.certificates.signer.issuing import CertificateLifetime

SLOTS_SECRET: Final = "federated-learning-authority"  # noqa: S105 - the name of an object
"""The Secret with the slots, in the manager's namespace; only the manager writes it."""


def schedule_for(leaf_life: timedelta) -> AuthoritySchedule:
    """Compute the rotation schedule for a longest leaf lifetime."""
    prepare_before = leaf_life + timedelta(days=30)
    return AuthoritySchedule(
        authority_life=max(timedelta(days=365), 3 * prepare_before), prepare_before=prepare_before, leaf_life=leaf_life
    )


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """Settings of the certificates' controllers."""

    namespace: str = "federated-learning-system"
    provided_ca_secret: str = ""
    """The `kubernetes.io/tls` Secret in which an administrator, or cert-manager, provides an authority; or `""`."""
    rules: RequestRules = field(default_factory=RequestRules)
    retention: Retention = field(default_factory=Retention)
    lifetime: CertificateLifetime = field(default_factory=CertificateLifetime)
    schedule: AuthoritySchedule = field(default_factory=AuthoritySchedule)

    def __post_init__(self) -> None:
        if self.lifetime.longest > self.schedule.leaf_life:
            raise ValueError(
                "lifetime.longest must not exceed schedule.leaf_life, the time that a retired authority stays"
            )
