"""The grammar of identities in certificates, written and read in one place.

A collaborator's subject is `CN=<managed cluster>, O=federated-learning` and nothing else. An aggregator has no common
name at all, so that no cluster's name, whatever it is, makes a collaborator look like an aggregator or the reverse;
it is known by the DNS name that every collaborator verifies whatever address it dials.
"""

from typing import Final, NewType

from cryptography import x509
from cryptography.x509.oid import NameOID

from federation.api.dns_names import is_dns_label
from federation.api.identity import COLLABORATOR_ORGANIZATION, Subject

ClusterName = NewType("ClusterName", str)
"""The name of a ManagedCluster that a verified certificate carries."""

AGGREGATOR_UNIT: Final = "aggregator"
"""The organisational unit (OU) of an aggregator's certificate."""

AGGREGATOR_DOMAIN: Final = "aggregator.federated-learning.internal"

_ORDER: Final = {NameOID.ORGANIZATION_NAME: "O", NameOID.ORGANIZATIONAL_UNIT_NAME: "OU", NameOID.COMMON_NAME: "CN"}


class NameRefused(ValueError):
    """The name does not match the grammar."""


def aggregator_dns(run: str, namespace: str) -> str:
    """Return the DNS name in the certificate of a run's aggregator.

    Raises:
        NameRefused: `run` or `namespace` is not a DNS label; with a dot in either, two runs could share a name.
    """
    for part in (run, namespace):
        if not is_dns_label(part):
            raise NameRefused(f"{part!r} is not a DNS label of at most 63 characters")
    return f"{run}.{namespace}.{AGGREGATOR_DOMAIN}"


def distinguished_name(subject: Subject) -> x509.Name:
    """Return the subject as an X.509 name: groups, units, then the user, each a separate relative distinguished name.

    Raises:
        ValueError: A value is empty or over X.520's limit of 64 characters.
    """
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in sorted(subject.groups)]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in subject.organization_units]
    attributes += [x509.NameAttribute(NameOID.COMMON_NAME, subject.user)] if subject.user else []
    return x509.Name(attributes)


def collaborator_of(name: x509.Name) -> ClusterName:
    """Return the cluster that a collaborator's certificate names; verify its chain first.

    Raises:
        NameRefused: The subject is not exactly one organisation `federated-learning` and one common name, a label.
    """
    found = sorted((_ORDER.get(attribute.oid, "?"), str(attribute.value)) for attribute in name)
    match found:
        case [("CN", cluster), ("O", organization)] if organization == COLLABORATOR_ORGANIZATION and is_dns_label(
            cluster
        ):
            return ClusterName(cluster)
        case _:
            raise NameRefused(f"{name.rfc4514_string()!r} is not a collaborator's subject")
