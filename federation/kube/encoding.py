"""Encode structs as the JSON that the API server stores."""

from typing import Any

import msgspec

from federation.api.meta import Condition
from federation.kube.resource import Json


def condition_json(condition: Condition) -> Json:
    """Encode the condition with every field that the schema requires, including empty ones."""
    observed = {"observedGeneration": condition.observed_generation} if condition.observed_generation else {}
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": condition.last_transition_time,
        **observed,
    }


def plain(value: object) -> Any:
    """Convert the value to JSON types: objects, lists and scalars, no tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))
