"""Validate the run's plan, and pass it to the collaborator's pod. Pure.

A text is passed as an annotation of the pod (downward API): the agent needs no permission for it, it is deleted with
the Job, and it gives no access to other objects of the site. A file is part of the image.
"""

from typing import Final

from federation.api.collaborator import PLAN_LIMIT, RunPlan
from federation.api.meta import FEDERATION_GROUP
from federation.kube.resource import Json
from federation.runtime_contract import PLAN_FILE, PLAN_FOLDER, Variable

ANNOTATION: Final = f"{FEDERATION_GROUP}/plan"
"""Annotation of a pod with the plan's text."""
LONGEST_PATH: Final = 1024
_READABLE: Final = 0o444


def plan_problem(plan: RunPlan | None) -> str | None:
    """Return the problem of the hub's plan, with the remedy; None if the plan is valid or missing."""
    if plan is None:
        return None
    if bool(plan.file) == bool(plan.text):
        return "spec.plan: set either file or text"
    if len(plan.text.encode()) > PLAN_LIMIT:
        return f"spec.plan.text: use at most {PLAN_LIMIT} bytes"
    if plan.file.startswith("/") or ".." in plan.file.split("/") or len(plan.file) > LONGEST_PATH:
        return f"spec.plan.file: set a relative path of at most {LONGEST_PATH} characters without '..'"
    return None


def variables(plan: RunPlan | None) -> dict[str, str]:
    """Return the variables that name the plan; empty if the image's own plan applies."""
    if plan is None:
        return {}
    if plan.text:
        return {Variable.PLAN.value: f"{PLAN_FOLDER}/{PLAN_FILE}"}
    return {
        Variable.PLAN.value: plan.file.replace("$", "$$")
    }  # Kubernetes puts another variable's value in place of $(NAME)


def annotations(plan: RunPlan | None) -> dict[str, str]:
    """Return the pod's annotations for the plan."""
    return {ANNOTATION: plan.text} if plan is not None and plan.text else {}


def volumes(plan: RunPlan | None) -> list[Json]:
    """Return the pod's volumes for the plan; empty unless it is a text."""
    item = {"path": PLAN_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}']"}}
    return [{"name": "plan", "downwardAPI": {"defaultMode": _READABLE, "items": [item]}}] if annotations(plan) else []


def mounts(plan: RunPlan | None) -> list[Json]:
    """Return the container's mounts for the plan."""
    return [{"name": "plan", "mountPath": PLAN_FOLDER, "readOnly": True}] if annotations(plan) else []
