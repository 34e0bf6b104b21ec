"""The shape of a resource, from its CRD's schema and from its struct, for tests that compare the two."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

INT_OR_STRING = "int-or-string"
ANYTHING = "anything"
SCALARS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", Any: ANYTHING}


def walk(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schema and every schema within it."""
    inner = [*schema.get("properties", {}).values()]
    inner += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    return [schema, *(deeper for each in inner for deeper in walk(each))]


def shape_of_schema(schema: dict[str, Any]) -> Any:
    """Return the names and types, nested as in the schema; `*` stands for any name."""
    if schema.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            return {"*": shape_of_schema(schema["additionalProperties"])}
        case "object" if "properties" not in schema:
            return {"*": ANYTHING}
        case "object":
            return {name: shape_of_schema(inner) for name, inner in schema["properties"].items()}
        case "array":
            return [shape_of_schema(schema["items"])]
        case scalar:
            return scalar


def shape_of_struct(annotation: Any) -> Any:
    """Return the same of a struct, or of the type of one of its fields."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return {field.encode_name: shape_of_struct(field.type) for field in msgspec.structs.fields(annotation)}
    if annotation in SCALARS:
        return SCALARS[annotation]
    origin = get_origin(annotation)
    arguments = [argument for argument in get_args(annotation) if argument not in (type(None), ...)]
    if origin in (tuple, dict):
        inner = shape_of_struct(arguments[-1])
        return [inner] if origin is tuple else {"*": inner}
    if origin in (Union, UnionType) and set(arguments) == {str, int}:
        return INT_OR_STRING
    return "string" if origin is Literal else shape_of_struct(arguments[0])
