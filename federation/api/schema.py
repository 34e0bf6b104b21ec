"""Validation by the API server, written as annotations on the fields of the structs.

The CRDs are generated from the structs and these annotations. Decoding ignores the annotations: an object that an older
CRD admitted must still decode, so a controller checks for itself whatever it depends on.

A default other than the zero value of its type is the default in the CRD, which the API server writes. Zero values
(`""`, 0, False, None, an empty collection) represent an absent field, as with `omitempty` in Go.
Source: k8s.io/apiextensions-apiserver `pkg/apis/apiextensions/v1/types_jsonschema.go`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

CEL_RULES: Final = "x-kubernetes-validations"
REQUIRED: Final = Meta(extra={"required": True})
"""The API server rejects an object without the field, although the struct has a default."""

Int32 = Annotated[int, Meta(extra_json_schema={"format": "int32"})]
Int64 = Annotated[int, Meta(extra_json_schema={"format": "int64"})]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time in RFC 3339."""
IntOrString = Annotated[
    str | int,
    Meta(extra_json_schema={"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
]

ATOMIC_LIST: Final = Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})
"""Server-side apply replaces the list as a whole."""


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of `kubectl get`."""

    name: str
    json_path: str
    type: Literal["string", "integer", "date"] = "string"
    description: str = ""
    priority: int = 0
    """Columns above 0 appear with `-o wide` only."""


def map_list(*keys: str) -> Meta:
    """Let server-side apply merge the items of a list by these fields."""
    return Meta(extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)})


def bounds(
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    exclusive_minimum: bool = False,
    exclusive_maximum: bool = False,
) -> Meta:
    """Limit a number."""
    return _keywords(
        minimum=minimum,
        exclusiveMinimum=exclusive_minimum or None,
        maximum=maximum,
        exclusiveMaximum=exclusive_maximum or None,
    )


def length(maximum: int, *, minimum: int | None = None) -> Meta:
    """Limit the characters of a string."""
    return _keywords(minLength=minimum, maxLength=maximum)


def items(maximum: int, *, minimum: int | None = None) -> Meta:
    """Limit the items of a list."""
    return _keywords(minItems=minimum, maxItems=maximum)


def entries(maximum: int) -> Meta:
    """Limit the entries of a map."""
    return _keywords(maxProperties=maximum)


def one_of(*values: str | Enum) -> Meta:
    """Limit a string to these values."""
    return _keywords(enum=[value.value if isinstance(value, Enum) else value for value in values])


def rule(cel: str, message: str, field_path: str = "") -> Meta:
    """Reject a value for which the CEL expression is false; several rules on one field add up.

    Args:
        cel: An expression on `self`.
        message: The remedy, in the imperative.
        field_path: The field within an object that the error names, such as `.server`.
    """
    content = {"rule": cel, "message": message}
    return Meta(extra_json_schema={CEL_RULES: [content | {"fieldPath": field_path} if field_path else content]})


def matches(pattern: str, message: str, *, or_empty: bool = False) -> Meta:
    """Reject a string that the whole of the regular expression does not match.

    Args:
        pattern: In RE2 syntax, without quotes.
        message: The remedy, in the imperative.
        or_empty: Whether the empty string, which represents an absent field, is valid too.
    """
    escaped = pattern.replace("\\", "\\\\")
    cel = f"self.matches('^{escaped}$')"
    return rule(f"self == '' || {cel}" if or_empty else cel, message)


RELATIVE_PATH: Final = rule(
    "!self.startsWith('/') && !self.split('/').exists(part, part == '..')", "write a relative path without '..'"
)


def _keywords(**keywords: Any) -> Meta:
    return Meta(extra_json_schema={name: value for name, value in keywords.items() if value is not None})
