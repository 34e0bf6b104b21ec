"""Schema of a PlacementSpec, embedded in the CRD of FederatedLearning; the API server drops fields it does not declare.

Source: open-cluster-management.io/api
`cluster/v1beta1/0000_02_clusters.open-cluster-management.io_placements.crd.yaml`, without descriptions.
"""

from typing import Any, Final

import msgspec

_STRING: Final = {"type": "string"}
_STRINGS: Final = {"type": "array", "items": _STRING}
_LABEL_PREFIX: Final = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"


def _object(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return schema | {"required": list(required)} if required else schema


def _array(inner: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"type": "array", "items": inner, **keywords}


_EXPRESSION: Final = _object(
    ("key", "operator"),
    key=_STRING,
    operator=_STRING,
    values=_array(_STRING, **{"x-kubernetes-list-type": "atomic"}),
)
_LABEL_SELECTOR: Final = {
    **_object(
        matchExpressions=_array(_EXPRESSION, **{"x-kubernetes-list-type": "atomic"}),
        matchLabels={"type": "object", "additionalProperties": _STRING},
    ),
    "x-kubernetes-map-type": "atomic",
}
_CLAIM_SELECTOR: Final = _object(matchExpressions=_array(_EXPRESSION))

_DECISION_STRATEGY: Final = _object(
    groupStrategy=_object(
        clustersPerDecisionGroup={
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "default": "100%",
            "pattern": "^((100|[1-9][0-9]{0,1})%|[1-9][0-9]*)$",
        },
        decisionGroups=_array(
            _object(
                ("groupClusterSelector", "groupName"),
                groupClusterSelector=_object(claimSelector=_CLAIM_SELECTOR, labelSelector=_LABEL_SELECTOR),
                groupName={"type": "string", "pattern": "^[a-zA-Z0-9][-A-Za-z0-9_.]{0,61}[a-zA-Z0-9]$"},
            )
        ),
    )
)
_PREDICATE: Final = _object(
    requiredClusterSelector=_object(
        celSelector=_object(celExpressions=_STRINGS),
        claimSelector=_CLAIM_SELECTOR,
        labelSelector=_LABEL_SELECTOR,
    )
)
_PRIORITIZER: Final = _object(
    ("scoreCoordinate",),
    scoreCoordinate=_object(
        ("type",),
        addOn=_object(("resourceName", "scoreName"), resourceName=_STRING, scoreName=_STRING),
        builtIn=_STRING,
        type={"type": "string", "default": "BuiltIn", "enum": ["BuiltIn", "AddOn"]},
    ),
    weight={"type": "integer", "default": 1, "format": "int32", "minimum": -10, "maximum": 10},
)
_SPREAD_CONSTRAINT: Final = _object(
    ("topologyKey", "topologyKeyType"),
    maxSkew={"type": "integer", "default": 1, "format": "int32", "minimum": 1},
    topologyKey={
        "type": "string",
        "maxLength": 316,
        "pattern": rf"{_LABEL_PREFIX}([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$",
    },
    topologyKeyType={"type": "string", "enum": ["Label", "Claim"]},
    whenUnsatisfiable={
        "type": "string",
        "default": "ScheduleAnyway",
        "enum": ["DoNotSchedule", "ScheduleAnyway"],
    },
)
_TOLERATION: Final = _object(
    effect={"type": "string", "enum": ["NoSelect", "PreferNoSelect", "NoSelectIfNew"]},
    key={
        "type": "string",
        "maxLength": 316,
        "pattern": rf"{_LABEL_PREFIX}(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
    },
    operator={"type": "string", "default": "Equal"},
    tolerationSeconds={"type": "integer", "format": "int64"},
    value={"type": "string", "maxLength": 1024},
)

PLACEMENT_SPEC: Final = msgspec.Meta(
    extra_json_schema=_object(
        clusterSets=_STRINGS,
        decisionStrategy=_DECISION_STRATEGY,
        numberOfClusters={"type": "integer", "format": "int32"},
        predicates=_array(_PREDICATE),
        prioritizerPolicy=_object(configurations=_array(_PRIORITIZER), mode={"type": "string", "default": "Additive"}),
        spreadPolicy=_object(spreadConstraints=_array(_SPREAD_CONSTRAINT, maxItems=8)),
        tolerations=_array(_TOLERATION),
    )
)
"""Annotation for a field that holds a PlacementSpec of `cluster.open-cluster-management.io/v1beta1`."""
