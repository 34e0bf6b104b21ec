"""Validate a Dataset for publication: ordered checks, each with a reason and a message that has the remedy. Pure.

The CRD rejects most of these Datasets already. The agent checks again because an older CRD, or disabled validation,
must not make a site publish more than its administrator intended.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from federation.api.dataset import (
    ADMITTED_IMAGE,
    LABEL_KEY,
    LABEL_VALUE,
    MAX_LABELS,
    MAX_ROWS,
    SCHEMA_DIGEST,
    Dataset,
)
from federation.api.ocm.claims import dataset_name

_SCHEMA_DIGEST: Final = re.compile(SCHEMA_DIGEST)
_LABEL_KEY: Final = re.compile(LABEL_KEY)
_LABEL_VALUE: Final = re.compile(LABEL_VALUE)
_IMAGE: Final = re.compile(ADMITTED_IMAGE)


class DatasetReason(StrEnum):
    """Reasons of the condition `Published`."""

    CLAIMED = "Claimed"
    """A ClusterClaim of the cluster names the dataset."""
    INVALID_NAME = "InvalidName"
    """The Dataset's name is invalid in a claim; rename the Dataset."""
    INVALID_VOLUME = "InvalidVolume"
    """The message names the field of `spec.volume`."""
    INVALID_ATTRIBUTES = "InvalidAttributes"
    """The message names the field of `spec.attributes`."""
    INVALID_POLICY = "InvalidPolicy"
    """The message names the field of `spec.policy`."""
    EXPIRED = "Expired"
    """`policy.expiresAt` has passed."""
    NO_ROOM = "NoRoom"
    """The ClusterClaims for datasets are full."""
    DELETING = "Deleting"
    """The Dataset is being deleted. Only the agent's metric counts it, since its status is no longer written."""


@dataclass(frozen=True, slots=True)
class DatasetRefusal:
    """Reason for which a dataset is not published, and the remedy."""

    reason: DatasetReason
    message: str


def dataset_refusal(dataset: Dataset, now: datetime) -> DatasetRefusal | None:
    """Return the first reason not to publish the dataset; None if it is valid."""
    for reason, check in _CHECKS:
        message = check(dataset, now)
        if message is not None:
            return DatasetRefusal(reason, message)
    return None


def expiry(dataset: Dataset) -> datetime | None:
    """Return the time at which the dataset expires; None if it never does.

    Raises:
        ValueError: `expiresAt` is not an RFC 3339 time with an offset.
    """
    text = dataset.spec.policy.expires_at
    if not text:
        return None
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    return instant


def _deletion(dataset: Dataset, _now: datetime) -> str | None:
    return "the Dataset is being deleted" if dataset.metadata.deleting else None


def _name(dataset: Dataset, _now: datetime) -> str | None:
    try:
        dataset_name(dataset.metadata.name)
    except ValueError as error:
        return str(error)
    return None


def _volume(dataset: Dataset, _now: datetime) -> str | None:
    volume = dataset.spec.volume
    if len(volume.sources) != 1:
        return (
            f"spec.volume has {len(volume.sources)} sources: set exactly one of persistentVolumeClaim, hostPath, "
            "configMap, secret, csi"
        )
    if volume.host_path is not None and not _is_plain_absolute(volume.host_path.path):
        return "spec.volume.hostPath.path: write an absolute path without '..'"
    if volume.sub_path and not _is_plain_absolute("/" + volume.sub_path):
        return "spec.volume.subPath: write a relative path without '..'"
    named = (
        volume.persistent_volume_claim is None or volume.persistent_volume_claim.claim_name,
        volume.config_map is None or volume.config_map.name,
        volume.secret is None or volume.secret.secret_name,
        volume.csi is None or volume.csi.driver,
    )
    return None if all(named) else "spec.volume: name the PersistentVolumeClaim, ConfigMap, Secret or CSI driver"


def _is_plain_absolute(path: str) -> bool:
    return path.startswith("/") and not path.startswith("//") and ".." not in path.split("/") and "\0" not in path


def _attributes(dataset: Dataset, _now: datetime) -> str | None:
    attributes = dataset.spec.attributes
    if attributes.rows is not None and not 0 <= attributes.rows <= MAX_ROWS:
        return f"spec.attributes.rows: write a number from 0 to {MAX_ROWS}"
    if attributes.schema_digest and not _SCHEMA_DIGEST.fullmatch(attributes.schema_digest):
        return "spec.attributes.schemaDigest: write 'sha256:' and 64 lower-case hexadecimal digits"
    if len(attributes.labels) > MAX_LABELS:
        return f"spec.attributes.labels: keep at most {MAX_LABELS}"
    if not all(_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value) for key, value in attributes.labels.items()):
        return (
            "spec.attributes.labels: use at most 63 letters, digits, '-', '_' and '.' for each key and value, "
            "beginning and ending with a letter or digit"
        )
    return None


def _policy(dataset: Dataset, _now: datetime) -> str | None:
    policy = dataset.spec.policy
    if not policy.runs or not all(pattern.namespace and pattern.name for pattern in policy.runs):
        return "spec.policy.runs: name the hub namespaces whose runs may use it ('*' for any)"
    if not policy.images or not all(_IMAGE.fullmatch(image) for image in policy.images):
        return "spec.policy.images: write each as an image with its digest, or as a prefix that ends with '/'"
    if policy.approval not in {"Automatic", "Manual"}:
        return "spec.policy.approval: write Automatic or Manual"
    try:
        expiry(dataset)
    except ValueError:
        return "spec.policy.expiresAt: write a time with its offset, as in 2030-01-31T00:00:00Z"
    return None


def _expired(dataset: Dataset, now: datetime) -> str | None:
    end = expiry(dataset)
    if end is None or now < end:
        return None
    return f"spec.policy.expiresAt ({dataset.spec.policy.expires_at}) has passed: move it to offer the data again"


_CHECKS: Final[tuple[tuple[DatasetReason, Callable[[Dataset, datetime], str | None]], ...]] = (
    (DatasetReason.DELETING, _deletion),
    (DatasetReason.INVALID_NAME, _name),
    (DatasetReason.INVALID_VOLUME, _volume),
    (DatasetReason.INVALID_ATTRIBUTES, _attributes),
    (DatasetReason.INVALID_POLICY, _policy),
    (DatasetReason.EXPIRED, _expired),
)
"""In this order: `_expired` relies on `_policy` having parsed the time."""
