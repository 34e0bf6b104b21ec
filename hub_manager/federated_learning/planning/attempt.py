"""Which attempt at the run this is: a change of the spec starts it anew, and nothing else does.

An attempt is known by its number, and by the digest of the spec that it was started with, both recorded in the status
before anything is made for it. While rounds are run a change waits for their end: nobody's training is thrown away
because a field was edited. Suspending the run, or deleting it, is how to stop it sooner.

Of a plan that comes from a ConfigMap the text counts too, until the cohort is fixed (`plans`): its digest is the third
part of the recipe. From then on the ConfigMap is not asked any more, and is for no run that is over a reason to begin.
"""

import hashlib
from typing import Any

import msgspec

from federation.api.federated_learning import FederatedLearning, FederatedLearningSpec
from federation.api.meta import is_true
from federation.api.run_status import COMPLETE, FAILED, FederatedLearningStatus
from federation.kube.conditions import rfc3339
from hub_manager.federated_learning.observation.observed import Observed
from hub_manager.federated_learning.planning.training_plan import source_digest


def recipe_of(spec: FederatedLearningSpec) -> str:
    """Two digests with a dash between: of what shapes the training, and of all that a change of can start a run anew.

    Suspension and the time to live are in neither; who is asked and until when is in the second alone.
    """
    whole: dict[str, Any] = msgspec.to_builtins(spec)
    whole.pop("suspend", None)
    whole.pop("ttlSecondsAfterFinished", None)
    second = _digest(whole)
    whole.pop("activeDeadlineSeconds", None)
    whole["client"] = {name: value for name, value in whole.get("client", {}).items() if name != "placement"}
    whole["server"] = {name: value for name, value in whole.get("server", {}).items() if name != "joinPolicy"}
    return f"{_digest(whole)}-{second}"


def current_attempt(observed: Observed) -> FederatedLearningStatus:
    """The attempt's own facts, as they are to be recorded: those that are, or those of a new one."""
    run, status = observed.run, observed.run.status
    recipe, recorded, fixed = recipe_of(run.spec), of_spec(status.recipe), plan_digest(status.recipe)
    text = source_digest(observed)
    same = recorded == recipe or (not has_ended(run) and _same_training(recorded, recipe))
    if status.attempt and same:
        if status.cohort or has_ended(run) or text in {"", fixed}:
            return _facts(status, _with_plan(recipe, fixed))
        if not fixed:
            return _facts(status, _with_plan(recipe, text))
    elif is_under_way(observed):
        return _facts(status, status.recipe)
    started = rfc3339(observed.now)
    return FederatedLearningStatus(attempt=status.attempt + 1, recipe=_with_plan(recipe, text), start_time=started)


def of_spec(recipe: str) -> str:
    """The part of a recorded recipe that `recipe_of` makes."""
    return "-".join(recipe.split("-")[:2])


def plan_digest(recipe: str) -> str:
    """The part of a recorded recipe that names the plan's text; `""` where none is fixed."""
    return recipe.split("-")[2] if recipe.count("-") > 1 else ""


def has_ended(run: FederatedLearning) -> bool:
    """Whether the recorded attempt is over, well or not."""
    return is_true(run.status.conditions, COMPLETE) or is_true(run.status.conditions, FAILED)


def is_under_way(observed: Observed) -> bool:
    """Whether rounds are run, so that a change of the spec has to wait."""
    run = observed.run
    job = observed.job_of(run.status.attempt)
    return bool(run.status.cohort) and not has_ended(run) and not run.spec.suspend and job is not None


def _facts(status: FederatedLearningStatus, recipe: str) -> FederatedLearningStatus:
    return FederatedLearningStatus(
        attempt=status.attempt,
        recipe=recipe,
        cohort=status.cohort,
        start_time=status.start_time,
        completion_time=status.completion_time,
    )


def _with_plan(recipe: str, digest: str) -> str:
    return f"{recipe}-{digest}" if digest else recipe


def _same_training(recorded: str, recipe: str) -> bool:
    return recorded.partition("-")[0] == recipe.partition("-")[0]


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:16]
