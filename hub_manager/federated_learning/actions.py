"""Actions of a run's plan: the shared ones, and the issuance of the aggregator's certificate."""

from dataclasses import dataclass

from federation.kube.actions import Action
from federation.kube.resource import Json, ObjectKey


@dataclass(frozen=True, slots=True)
class IssueCertificate:
    """Issue a new key and certificate for the aggregator into its Secret."""

    key: ObjectKey
    """The Secret."""
    record: ObjectKey
    """The ConfigMap on which the issuance is recorded."""
    names: tuple[str, ...]
    """Subject alternative names."""
    metadata: Json
    digest: str
    """Digest of the certificate's inputs, recorded beside the time of its renewal."""


RunAction = Action | IssueCertificate
