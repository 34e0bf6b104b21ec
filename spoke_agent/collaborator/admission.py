"""Whether a Collaborator may run at this site: ordered checks, each with its reason and the remedy in words. Pure.

First what the hub asks must make sense, then the site must offer the dataset, then its terms must be met. The CRD
refuses most of what the first checks do; it may be an older one, or its validation switched off.

**Approval.** With `approval: Manual` someone at the site approves each request by an annotation on the *Dataset*:
`approval.federation-ai.open-cluster-management.io/REQUEST=approved`, where REQUEST is the Collaborator's
`status.approval`. It stands on the Dataset because the hub writes Collaborators and has no verb on Datasets
(`addon-templates/agent/work-role.yaml`); nothing on a Collaborator proves anything. REQUEST is a digest of the run and
of all that the site would run for it: another attempt of the same needs no other approval, and a request that changes
after it was approved waits again.

What this can't do: a klusterlet whose work agent has OCM's default rights may create any Job in any namespace, and
approves what it pleases with a role that it grants itself. These terms bind whoever writes FederatedLearnings, not who
writes ManifestWorks: a site that doesn't trust the hub's administrators limits its klusterlet. And who admits an image
admits whatever its entry point does with any arguments and variables.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from federation.api.collaborator import APPROVAL_PREFIX, APPROVED, Collaborator
from federation.api.dataset import Dataset
from federation.api.dns_names import is_dns_label
from federation.api.kubernetes.quantity import parse_quantity
from spoke_agent.claims.validation import DatasetReason, dataset_refusal, expiry
from spoke_agent.collaborator import training_plan
from spoke_agent.collaborator.image_reference import admits, image_of
from spoke_agent.collaborator.network import destination_of

RESERVED_PREFIX: Final = "FL_"
"""Of the variables by which the agent tells the collaborator what it needs."""
_SEE_STATUS: Final = "its own condition Published tells the site's administrator more"
"""In the place of the Dataset's own fault: that speaks of the site's terms, and this goes to the hub."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RUN_ID: Final = re.compile(r"[-A-Za-z0-9_.]{1,128}")
_RESOURCE: Final = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class AdmissionReason(StrEnum):
    """Reasons of the condition `Accepted`."""

    MEETS_POLICY = "MeetsPolicy"
    """The site takes part."""
    INVALID_NAME = "InvalidName"
    """The Collaborator's own name can't be a Job's."""
    INVALID_RUN = "InvalidRun"
    """The run has no namespace, name or uid that could be one."""
    INVALID_IMAGE = "InvalidImage"
    """The image is no reference, or names no registry."""
    INVALID_ENVIRONMENT = "InvalidEnvironment"
    """A variable's name is none, is there twice, or is one of the agent's."""
    INVALID_PLAN = "InvalidPlan"
    """The plan is neither a file of the workspace nor a text of at most 128 KiB, or is both."""
    INVALID_RESOURCES = "InvalidResources"
    """A resource's name or quantity is none, or more is requested than the limit allows."""
    INVALID_AGGREGATOR = "InvalidAggregator"
    """An address is no `HOST:PORT`, or one within the site's own node; or a time is not above 0."""
    DATASET_NOT_FOUND = "DatasetNotFound"
    """The install namespace has no Dataset of the name."""
    DATASET_EXPIRED = "DatasetExpired"
    """The Dataset's `policy.expiresAt` has passed."""
    DATASET_NOT_OFFERED = "DatasetNotOffered"
    """The Dataset isn't valid, or is being deleted."""
    RUN_NOT_ALLOWED = "RunNotAllowed"
    """None of the Dataset's `policy.runs` matches the run's namespace and name."""
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    """None of the Dataset's `policy.images` admits the image."""
    APPROVAL_PENDING = "ApprovalPending"
    """Someone at the site has to approve this request, as it is now."""


@dataclass(frozen=True, slots=True)
class RequestAccepted:
    """The site takes part, until the dataset expires."""

    dataset: Dataset
    until: datetime | None


@dataclass(frozen=True, slots=True)
class RequestPending:
    """The site would take part, once someone there approves."""

    message: str
    approval: str


@dataclass(frozen=True, slots=True)
class RequestRejected:
    """The site does not take part."""

    reason: AdmissionReason
    message: str


AdmissionVerdict = RequestAccepted | RequestPending | RequestRejected


@dataclass(frozen=True, slots=True)
class _Case:
    """What there is to judge."""

    collaborator: Collaborator
    dataset: Dataset | None
    now: datetime


def review_request(collaborator: Collaborator, dataset: Dataset | None, now: datetime) -> AdmissionVerdict:
    """Whether the site takes part in what is asked.

    Args:
        collaborator: What the hub asks; everything in it is the hub's word.
        dataset: The Dataset of the name that it asks for, None where there is none.
        now: The time.
    """
    case = _Case(collaborator, dataset, now)
    for reason, check in _CHECKS:
        message = check(case)
        if message is not None:
            return RequestRejected(reason, message)
    assert dataset is not None, "a check has refused it"  # noqa: S101 - narrows the type
    if dataset.spec.policy.approval != "Automatic" and not is_approved(collaborator, dataset):
        request = approval_of(collaborator)
        return RequestPending(
            f"someone at the site has to approve it: kubectl annotate dataset {dataset.metadata.name} "
            f"--namespace {dataset.metadata.namespace} {APPROVAL_PREFIX}{request}={APPROVED}",
            request,
        )
    return RequestAccepted(dataset, expiry(dataset))


def approval_of(collaborator: Collaborator) -> str:
    """What names a request where it is approved: a digest of the run and of all that would run for it.

    Addresses and times are no part of it: the aggregator's certificate, not its address, says where updates go.
    """
    spec = collaborator.spec
    run = (spec.run.namespace, spec.run.name, spec.run.uid)
    plan = () if spec.plan is None else (spec.plan,)
    asked = (run, spec.dataset, spec.image, spec.framework, spec.resources, spec.args, spec.env, *plan)
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()[:32]


def is_approved(collaborator: Collaborator, dataset: Dataset) -> bool:
    """Whether the Dataset carries the approval of this very request."""
    return dataset.metadata.annotations.get(APPROVAL_PREFIX + approval_of(collaborator)) == APPROVED


def matches(pattern: str, name: str) -> bool:
    """Whether the name is one that the pattern means: `*` stands for any characters, everything else for itself."""
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
        return "spec.run: write the namespace and the name of the FederatedLearning, without dots"
    if not _RUN_ID.fullmatch(run.uid) or not _RUN_ID.fullmatch(run.attempt):
        return "spec.run: write the uid, and an id of at most 128 letters, digits, '-', '_' and '.'"
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
            return f"spec.env: {name[:80]!r}: use letters, digits and '_', beginning with none of the digits"
        if name.startswith(RESERVED_PREFIX):
            return f"spec.env: {name[:80]!r}: use another prefix than {RESERVED_PREFIX}, which is the agent's"
    return None if len(set(names)) == len(names) else "spec.env: write each variable once"


def _plan(case: _Case) -> str | None:
    return training_plan.plan_problem(case.collaborator.spec.plan)


def _resources(case: _Case) -> str | None:
    wanted = case.collaborator.spec.resources
    for field, quantities in (("requests", wanted.requests), ("limits", wanted.limits)):
        for name, quantity in quantities.items():
            place = f"spec.resources.{field}: {name[:80]!r}"
            if not _RESOURCE.fullmatch(name):
                return f"{place}: write the name of a resource"
            try:
                amount = parse_quantity(str(quantity))
            except ValueError as error:
                return f"{place}: {error}"
            if amount < 0:
                return f"{place}: write no less than 0"
    for name in wanted.requests.keys() & wanted.limits.keys():
        if parse_quantity(str(wanted.requests[name])) > parse_quantity(str(wanted.limits[name])):
            return f"spec.resources: {name!r}: request no more than the limit"
    return None


def _aggregator(case: _Case) -> str | None:
    spec = case.collaborator.spec
    if spec.active_deadline_seconds is not None and spec.active_deadline_seconds < 1:
        return "spec.activeDeadlineSeconds: write at least 1"
    if spec.aggregator is None:
        return None
    if not spec.aggregator.addresses or spec.aggregator.patience_seconds < 1:
        return "spec.aggregator: write an address, and at least 1 for patienceSeconds"
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
    """By the Dataset itself: its status is ours as well, and may be older."""
    refusal = dataset_refusal(_known(case), case.now)
    return None if refusal is None else f"the Dataset is not valid, or is being deleted: {_SEE_STATUS}"


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
    """The dataset, after the check that there is one; it says nothing of the site's terms but that they aren't met."""
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
