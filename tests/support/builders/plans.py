"""An OpenFL plan that can be run, to be changed in one place by a test."""

import copy
from typing import Any, Final

_PLAN: Final[dict[str, Any]] = {
    "aggregator": {"template": "openfl.component.Aggregator", "settings": {"rounds_to_train": 5}},
    "collaborator": {"template": "openfl.component.Collaborator", "settings": {"opt_treatment": "RESET"}},
    "data_loader": {"template": "src.dataloader.Loader", "settings": {"batch_size": 8}},
    "task_runner": {"template": "src.taskrunner.Runner", "settings": {}},
    "network": {"template": "openfl.federation.Network", "settings": {"use_tls": False}},
    "assigner": {
        "template": "openfl.component.RandomGroupedAssigner",
        "settings": {"task_groups": [{"name": "learning", "percentage": 1.0, "tasks": ["validation", "train"]}]},
    },
    "tasks": {
        "settings": {},
        "validation": {"function": "validate_task", "kwargs": {"apply": "global"}},
        "train": {"function": "train_task", "kwargs": {"epochs": 1}},
    },
}


def plan(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The plan, with other values at some paths.

    Args:
        changes: new values by dotted path (`assigner.settings.task_groups`); None takes away what is there.
    """
    changed = copy.deepcopy(_PLAN)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place = changed
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return changed
