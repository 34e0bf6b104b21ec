"""The run's plan at a site: what the hub may send of it, and how the collaborator gets it. Pure.

A text is handed on by the pod's own annotation (downward API): the agent needs no right for it, it goes with the Job
that was made from it, and nothing else of the site can be read that way. A file is one of the image.
"""

from typing import Final

from federation.api.collaborator import PLAN_LIMIT, RunPlan
from federation.api.meta import FEDERATION_GROUP
from federation.kube.resource import Json
from federation.runtime_contract import PLAN_FILE, PLAN_FOLDER

ANNOTATION: Final = f"{FEDERATION_GROUP}/plan"
"""On a pod: the plan's text."""
LONGEST_PATH: Final = 1024
_READABLE: Final = 0o444


def plan_problem(plan: RunPlan | None) -> str | None:
    """What is wrong with a plan that the hub sends, with the remedy; None for a sound one, or none at all."""
    if plan is None:
        return None
    if bool(plan.file) == bool(plan.text):
        return "spec.plan: write either file or text"
    if len(plan.text.encode()) > PLAN_LIMIT:
        return f"spec.plan.text: write at most {PLAN_LIMIT} bytes"
    if plan.file.startswith("/") or ".." in plan.file.split("/") or len(plan.file) > LONGEST_PATH:
        return f"spec.plan.file: write a relative path of at most {LONGEST_PATH} characters without '..'"
    return None


def variables(plan: RunPlan | None) -> dict[str, str]:
    """What the collaborator is told of its plan: nothing, where the image's own counts."""
    if plan is None:
        return {}
    if plan.text:
        return {"FL_PLAN": f"{PLAN_FOLDER}/{PLAN_FILE}"}
    return {"FL_PLAN": plan.file.replace("$", "$$")}  # Kubernetes puts another variable's value in place of $(NAME)


def annotations(plan: RunPlan | None) -> dict[str, str]:
    """Of the pod."""
    return {ANNOTATION: plan.text} if plan is not None and plan.text else {}


def volumes(plan: RunPlan | None) -> list[Json]:
    """Of the pod: none but for a text."""
    item = {"path": PLAN_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION}']"}}
    return [{"name": "plan", "downwardAPI": {"defaultMode": _READABLE, "items": [item]}}] if annotations(plan) else []


def mounts(plan: RunPlan | None) -> list[Json]:
    """Of the container."""
    return [{"name": "plan", "mountPath": PLAN_FOLDER, "readOnly": True}] if annotations(plan) else []
