"""Decide whether a Collaborator may run at this site: ordered checks, each with a reason and the remedy. Pure.

The request must be valid, then the site must offer the dataset, then the request must meet the dataset's policy. The
CRD rejects most invalid requests already, but it may be older, or its validation disabled.

**Approval.** With `approval: Manual` an administrator of the site approves each request by an annotation on the
*Dataset*: `approval.federation-ai.open-cluster-management.io/REQUEST=approved`, where REQUEST is the Collaborator's
`status.approval`. It is an annotation of the Dataset because the hub writes Collaborators and has no permission on
Datasets (`addon-templates/agent/work-role.yaml`); an annotation of a Collaborator would prove nothing. REQUEST is a
digest of the run and of all inputs that the site would run: another attempt needs no other approval, and a request that
changes after its approval waits again.

**Limits.** A klusterlet whose work agent has OCM's default permissions may create any Job in any namespace, and may
grant itself a role to approve requests. The policy binds authors of FederatedLearnings, not of ManifestWorks: a site
that does not trust the hub's administrators must limit its klusterlet. A policy that admits an image also admits all
that its entry point does with any arguments and variables.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from federation.api.collaborator import APPROVAL_PREFIX, APPROVED, RESERVED_PREFIX, Collaborator
from federation.api.dataset import Dataset
from federation.api.dns_names import is_dns_label
from federation.api.kubernetes.quantity import parse_quantity
from spoke_agent.claims.planning.validation import DatasetReason, dataset_refusal, expiry
from spoke_agent.collaborator.planning import training_plan
from spoke_agent.collaborator.planning.image_reference import admits, image_of
from spoke_agent.collaborator.planning.network import destination_of

_SEE_STATUS: Final = "its condition Published at the site has the cause"
"""Replaces the Dataset's own message, which may reveal the site's policy: this message goes to the hub."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RUN_ID: Final = re.compile(r"[-A-Za-z0-9_.]{1,128}")
_RESOURCE: Final = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class AdmissionReason(StrEnum):
    """Reasons of the condition `Accepted`."""

    MEETS_POLICY = "MeetsPolicy"
    """The site takes part."""
    INVALID_NAME = "InvalidName"
    """The Collaborator's name is invalid for a Job."""
    INVALID_RUN = "InvalidRun"
    """The namespace, name, uid or id of the run is invalid."""
    INVALID_IMAGE = "InvalidImage"
    """The image reference is invalid, or lacks a registry."""
    INVALID_ENVIRONMENT = "InvalidEnvironment"
    """A variable name is invalid, duplicated or reserved (`FL_` prefix)."""
    INVALID_PLAN = "InvalidPlan"
    """The plan must be either a file of the workspace or a text of at most 128 KiB."""
    INVALID_RESOURCES = "InvalidResources"
    """The name or the quantity of a resource is invalid, or a request exceeds its limit."""
    INVALID_AGGREGATOR = "InvalidAggregator"
    """An address is not `HOST:PORT` or lies within the site's node, or a duration is below 1 s."""
    DATASET_NOT_FOUND = "DatasetNotFound"
    """The install namespace has no Dataset of the name."""
    DATASET_EXPIRED = "DatasetExpired"
    """The Dataset's `policy.expiresAt` has passed."""
    DATASET_NOT_OFFERED = "DatasetNotOffered"
    """The Dataset is invalid or being deleted."""
    RUN_NOT_ALLOWED = "RunNotAllowed"
    """None of the Dataset's `policy.runs` matches the run's namespace and name."""
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    """None of the Dataset's `policy.images` admits the image."""
    APPROVAL_PENDING = "ApprovalPending"
    """An administrator of the site must approve this request in its current form."""


@dataclass(frozen=True, slots=True)
class RequestAccepted:
    """Acceptance of the request until the dataset expires."""

    dataset: Dataset
    until: datetime | None


@dataclass(frozen=True, slots=True)
class RequestPending:
    """Request that an administrator of the site must still approve."""

    message: str
    approval: str


@dataclass(frozen=True, slots=True)
class RequestRejected:
    """Rejection of the request."""

    reason: AdmissionReason
    message: str


AdmissionVerdict = RequestAccepted | RequestPending | RequestRejected


@dataclass(frozen=True, slots=True)
class _Case:
    """Input of the checks."""

    collaborator: Collaborator
    dataset: Dataset | None
    now: datetime


def review_request(collaborator: Collaborator, dataset: Dataset | None, now: datetime) -> AdmissionVerdict:
    """Decide whether the site accepts the request.

    Args:
        collaborator: The hub's request; all of it is untrusted.
        dataset: The Dataset that the request names; None if it is missing.
        now: The time.
    """
    case = _Case(collaborator, dataset, now)
    for reason, check in _CHECKS:
        message = check(case)
        if message is not None:
            return RequestRejected(reason, message)
    assert dataset is not None, "a check has rejected it"  # noqa: S101 - narrows the type
    if dataset.spec.policy.approval != "Automatic" and not is_approved(collaborator, dataset):
        request = approval_of(collaborator)
        return RequestPending(
            f"an administrator of the site must approve the request: kubectl annotate dataset {dataset.metadata.name} "
            f"--namespace {dataset.metadata.namespace} {APPROVAL_PREFIX}{request}={APPROVED}",
            request,
        )
    return RequestAccepted(dataset, expiry(dataset))


def approval_of(collaborator: Collaborator) -> str:
    """Return the name under which a request is approved: a digest of the run and of all inputs of its Job.

    It excludes addresses and times: the aggregator's certificate, not its address, identifies the recipient of updates.
    """
    spec = collaborator.spec
    run = (spec.run.namespace, spec.run.name, spec.run.uid)
    plan = () if spec.plan is None else (spec.plan,)
    asked = (run, spec.dataset, spec.image, spec.framework, spec.resources, spec.args, spec.env, *plan)
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()[:32]


def is_approved(collaborator: Collaborator, dataset: Dataset) -> bool:
    """Return whether the Dataset has the approval of exactly this request."""
    return dataset.metadata.annotations.get(APPROVAL_PREFIX + approval_of(collaborator)) == APPROVED


def matches(pattern: str, name: str) -> bool:
    """Return whether the name matches the pattern, in which `*` stands for any characters."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *inner, last = rest
    if not name.startswith(first) or len(name) < len(first) + len(last) or not name.endswith(last):
        return False
    position, end = len(first), len(name) - len(last)
    for part in inner:
        found = name.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def _name(case: _Case) -> str | None:
    if is_dns_label(case.collaborator.metadata.name):
        return None
    return "metadata.name: use at most 63 lower-case letters, digits and '-'"


def _run(case: _Case) -> str | None:
    run = case.collaborator.spec.run
    if not is_dns_label(run.namespace) or not is_dns_label(run.name):
        return "spec.run: set namespace and name to those of the FederatedLearning, without dots"
    if not _RUN_ID.fullmatch(run.uid) or not _RUN_ID.fullmatch(run.attempt):
        return "spec.run: set uid and id to at most 128 letters, digits, '-', '_' and '.'"
    return None


def _image(case: _Case) -> str | None:
    try:
        image_of(case.collaborator.spec.image)
    except ValueError as error:
        return f"spec.image: {error}"
    return None


def _environment(case: _Case) -> str | None:
    names = [variable.name for variable in case.collaborator.spec.env]
    for name in names:
        if not _VARIABLE.fullmatch(name):
            return f"spec.env: {name[:80]!r}: use letters, digits and '_', and do not begin with a digit"
        if name.startswith(RESERVED_PREFIX):
            return f"spec.env: {name[:80]!r}: use another prefix; {RESERVED_PREFIX} is reserved for the agent"
    return None if len(set(names)) == len(names) else "spec.env: set each variable once"


def _plan(case: _Case) -> str | None:
    return training_plan.plan_problem(case.collaborator.spec.plan)


def _resources(case: _Case) -> str | None:
    wanted = case.collaborator.spec.resources
    for field, quantities in (("requests", wanted.requests), ("limits", wanted.limits)):
        for name, quantity in quantities.items():
            place = f"spec.resources.{field}: {name[:80]!r}"
            if not _RESOURCE.fullmatch(name):
                return f"{place}: use a valid resource name"
            try:
                amount = parse_quantity(str(quantity))
            except ValueError as error:
                return f"{place}: {error}"
            if amount < 0:
                return f"{place}: set a quantity of at least 0"
    for name in wanted.requests.keys() & wanted.limits.keys():
        if parse_quantity(str(wanted.requests[name])) > parse_quantity(str(wanted.limits[name])):
            return f"spec.resources: {name!r}: set the request to at most the limit"
    return None


def _aggregator(case: _Case) -> str | None:
    spec = case.collaborator.spec
    if spec.active_deadline_seconds is not None and spec.active_deadline_seconds < 1:
        return "spec.activeDeadlineSeconds: set at least 1"
    if spec.aggregator is None:
        return None
    if not spec.aggregator.addresses or spec.aggregator.patience_seconds < 1:
        return "spec.aggregator: set an address, and patienceSeconds to at least 1"
    for address in spec.aggregator.addresses:
        try:
            destination_of(address)
        except ValueError as error:
            return f"spec.aggregator.addresses: {error}"
    return None


def _dataset_exists(case: _Case) -> str | None:
    if case.dataset is not None:
        return None
    return f"the site has no Dataset {case.collaborator.spec.dataset[:63]!r} in the add-on's namespace"


def _dataset_lives(case: _Case) -> str | None:
    refusal = dataset_refusal(_known(case), case.now)
    expired = refusal is not None and refusal.reason == DatasetReason.EXPIRED
    return f"the Dataset has expired: {_SEE_STATUS}" if expired else None


def _dataset_offered(case: _Case) -> str | None:
    """Check the Dataset's spec, since its status may be outdated."""
    refusal = dataset_refusal(_known(case), case.now)
    return None if refusal is None else f"the Dataset is invalid or being deleted: {_SEE_STATUS}"


def _run_allowed(case: _Case) -> str | None:
    run = case.collaborator.spec.run
    patterns = _known(case).spec.policy.runs
    if any(matches(each.namespace, run.namespace) and matches(each.name, run.name) for each in patterns):
        return None
    return f"the site's terms do not admit the run {run.namespace}/{run.name}: ask its administrator"


def _image_allowed(case: _Case) -> str | None:
    image = case.collaborator.spec.image
    if admits(_known(case).spec.policy.images, image_of(image)):
        return None
    return f"the site's terms do not admit the image {image}: ask its administrator"


def _known(case: _Case) -> Dataset:
    """Return the dataset, which `_dataset_exists` has checked. Messages must not reveal more of its policy."""
    assert case.dataset is not None, "checked first"  # noqa: S101 - narrows the type
    return case.dataset


_CHECKS: Final[tuple[tuple[AdmissionReason, Callable[[_Case], str | None]], ...]] = (
    (AdmissionReason.INVALID_NAME, _name),
    (AdmissionReason.INVALID_RUN, _run),
    (AdmissionReason.INVALID_IMAGE, _image),
    (AdmissionReason.INVALID_ENVIRONMENT, _environment),
    (AdmissionReason.INVALID_PLAN, _plan),
    (AdmissionReason.INVALID_RESOURCES, _resources),
    (AdmissionReason.INVALID_AGGREGATOR, _aggregator),
    (AdmissionReason.DATASET_NOT_FOUND, _dataset_exists),
    (AdmissionReason.DATASET_EXPIRED, _dataset_lives),
    (AdmissionReason.DATASET_NOT_OFFERED, _dataset_offered),
    (AdmissionReason.RUN_NOT_ALLOWED, _run_allowed),
    (AdmissionReason.IMAGE_NOT_ALLOWED, _image_allowed),
)
"""In this order: each relies on those before it."""
