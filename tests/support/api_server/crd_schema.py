"""Whether an object is what a CRD's schema asks for, as far as a structural schema goes without CEL.

Stricter than an API server in one thing: a field that the schema doesn't have is an error, where the server drops it.
"""

import re
from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def errors_of(value: Any, schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Everything that the schema refuses of the value, each with its path."""
    kinds: tuple[type, ...] = (str, int) if schema.get("x-kubernetes-int-or-string") else _TYPES[schema["type"]]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{path}: {value!r} is no {schema.get('type', 'quantity')}"
        return
    yield from _bounds(value, schema, path)
    match value:
        case dict():
            yield from _fields(value, schema, path)
        case list():
            for place, inner in enumerate(value):
                yield from errors_of(inner, schema["items"], f"{path}[{place}]")


def _fields(value: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
    any_name = schema.get("additionalProperties")
    if any_name is None and "properties" not in schema:
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: required"
    for name, inner in value.items():
        known = any_name or schema["properties"].get(name)
        if known is None:
            yield f"{path}.{name}: no such field"
        else:
            yield from errors_of(inner, known, f"{path}.{name}")


def _bounds(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} is not {schema['pattern']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            yield f"{path}: {value} is out of bounds"
        return
    size = len(value) if isinstance(value, str | list | dict) else 0
    for name in ("Items", "Properties", "Length"):
        if not schema.get(f"min{name}", 0) <= size <= schema.get(f"max{name}", size):
            yield f"{path}: {size} is out of bounds"
