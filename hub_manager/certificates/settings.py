"""What an administrator can set, and how it is made of one piece."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from hub_manager.certificates.authority import Schedule
from hub_manager.certificates.decision import Patience
from hub_manager.certificates.issuing import Life
from hub_manager.certificates.policy import Rules

SLOTS_SECRET: Final = "federated-learning-authority"  # noqa: S105 - the name of an object
"""The Secret of the manager's namespace that holds the slots; written by the manager alone."""


def schedule_for(leaf_life: timedelta) -> Schedule:
    """The schedule of authorities whose certificates live so long at most."""
    prepare_before = leaf_life + timedelta(days=30)
    return Schedule(
        authority_life=max(timedelta(days=365), 3 * prepare_before), prepare_before=prepare_before, leaf_life=leaf_life
    )


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """Everything that the certificates' controllers are told."""

    namespace: str = "federated-learning-system"
    brought_secret: str = ""
    """The `kubernetes.io/tls` Secret in which an administrator, or cert-manager, brings an authority; `""`: none."""
    rules: Rules = field(default_factory=Rules)
    patience: Patience = field(default_factory=Patience)
    life: Life = field(default_factory=Life)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if self.life.longest > self.schedule.leaf_life:
            raise ValueError("a retired authority would leave the bundle before its last certificate has expired")
