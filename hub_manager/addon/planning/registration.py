"""Compute the registrations: the certificates that the klusterlet requests for the agent.

They are computed from the cluster's name alone. The present `status.registrations` is only compared with them, because
the spoke can write it (OCM grants a klusterlet PATCH on the status of its add-ons).
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
"""The klusterlet's driver that provides the agent with a service account token instead of a certificate."""


def service_account_user(cluster: str) -> str:
    """Return the user of the token driver, as in ocm `pkg/registration/register/token/token.go`, `ensureSubject`."""
    return f"system:serviceaccount:{cluster}:{ADDON_NAME}-agent"


def registrations(cluster: str, driver: str) -> tuple[Registration, ...]:
    """Return the desired `status.registrations`: one for the hub's API server, one for the aggregators.

    Args:
        cluster: The name of the ManagedCluster.
        driver: `status.kubeClientDriver`, which the klusterlet chooses. With `token` it also writes the subject
            of the first entry; the same subject is set here, so that the two do not overwrite each other.
    """
    agent = Subject(user=service_account_user(cluster), groups=()) if driver == TOKEN_DRIVER else agent_subject(cluster)
    return (
        Registration(signer_name=KUBE_CLIENT_SIGNER, subject=_as_registered(agent)),
        Registration(signer_name=COLLABORATOR_SIGNER, subject=_as_registered(collaborator_subject(cluster))),
    )


def _as_registered(subject: Subject) -> RegistrationSubject:
    return RegistrationSubject(user=subject.user, groups=subject.groups, organization_unit=subject.organization_units)
