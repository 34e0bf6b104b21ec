"""Which certificates the klusterlet shall ask for on the agent's behalf.

Computed from the cluster's name alone: what `status.registrations` says now is only compared with it, because the
spoke can write it (OCM grants its identity PATCH on the status of its own add-ons).
"""

from typing import Final

from federation.api.identity import (
    ADDON_NAME,
    COLLABORATOR_SIGNER,
    KUBE_CLIENT_SIGNER,
    Subject,
    agent_subject,
    collaborator_subject,
)
from federation.api.ocm.addon import Registration, RegistrationSubject

TOKEN_DRIVER: Final = "token"  # noqa: S105  # the name of a driver
"""The klusterlet's driver that gets the agent a service account's token instead of a certificate."""


def service_account_user(cluster: str) -> str:
    """The user behind the token driver: ocm `pkg/registration/register/token/token.go`, `ensureSubject`."""
    return f"system:serviceaccount:{cluster}:{ADDON_NAME}-agent"


def registrations(cluster: str, driver: str) -> tuple[Registration, ...]:
    """What `status.registrations` has to be: one entry for the hub's API server, one for the aggregators.

    Args:
        cluster: The name of the ManagedCluster.
        driver: `status.kubeClientDriver`, which the klusterlet chooses. With `token` it writes the subject of the
            first entry itself; the same subject is written here, so that the two don't take turns.
    """
    agent = Subject(user=service_account_user(cluster), groups=()) if driver == TOKEN_DRIVER else agent_subject(cluster)
    return (
        Registration(signer_name=KUBE_CLIENT_SIGNER, subject=_as_registered(agent)),
        Registration(signer_name=COLLABORATOR_SIGNER, subject=_as_registered(collaborator_subject(cluster))),
    )


def _as_registered(subject: Subject) -> RegistrationSubject:
    return RegistrationSubject(user=subject.user, groups=subject.groups, organization_unit=subject.organization_units)
