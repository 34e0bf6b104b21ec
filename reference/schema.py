"""The OpenAPI schema of a resource, generated from its structs.

Types, names and defaults come from the fields, constraints from their annotations (`federation.api.schema`), and
descriptions from the docstrings beneath them. Where a field has no docstring the docstring of its struct is used.
"""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from federation.api.meta import CustomResource, Struct
from federation.api.schema import CEL_RULES
from reference.docstrings import documented, summary, whole

Schema = dict[str, Any]
_SCALARS: Final[dict[Any, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema_of(resource: type[CustomResource]) -> Schema:
    """Return the `openAPIV3Schema` of a resource.

    Raises:
        LookupError: A field has no docstring; the message names it.
        KeyError: A field's type has no schema.
    """
    own = _of_struct(resource)
    fields = {name: field for name, field in own["properties"].items() if name != "metadata"}
    standard = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return {"type": "object", "description": whole(resource), **own, "properties": standard | fields}


def struct_in(annotation: Any) -> type[Struct] | None:
    """Return the struct that the annotation is or contains, maps excepted."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return annotation
    if get_origin(annotation) is dict:
        return None
    return next((found for inner in get_args(annotation) if (found := struct_in(inner)) is not None), None)


def description_of(owner: type[msgspec.Struct], field: msgspec.structs.FieldInfo) -> str:
    """Return the docstring beneath a field, or that of the struct that it contains.

    Raises:
        LookupError: There is neither; the message names the field.
    """
    own = documented(owner).get(field.name)
    if own is not None:
        return own
    inner = struct_in(field.type)
    if inner is None:
        raise LookupError(f"{owner.__name__}.{field.name}: write a docstring beneath it")
    return summary(inner)


def _of_struct(struct: type[Struct]) -> Schema:
    fields = [field for field in msgspec.structs.fields(struct) if not _is_metadata(struct, field)]
    required = [field.encode_name for field in fields if _is_required(field)]
    schema: Schema = {"type": "object", "required": required} if required else {"type": "object"}
    for meta in struct.cel_rules:
        _add(schema, meta)
    return schema | {"properties": {field.encode_name: _of_field(struct, field) for field in fields}}


def _is_metadata(struct: type[Struct], field: msgspec.structs.FieldInfo) -> bool:
    return issubclass(struct, CustomResource) and field.name == "metadata"


def _is_required(field: msgspec.structs.FieldInfo) -> bool:
    marked = any((meta.extra or {}).get("required", False) for meta in _metas(field.type))
    return marked or (field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT)


def _of_field(owner: type[Struct], field: msgspec.structs.FieldInfo) -> Schema:
    schema = _of_type(field.type)
    described = {"type": schema.pop("type")} if "type" in schema else {}
    described |= {"format": schema.pop("format")} if "format" in schema else {}
    described["description"] = description_of(owner, field)
    if isinstance(field.default, str | int | float) and field.default:
        described["default"] = field.default
    return described | schema


def _of_type(annotation: Any) -> Schema:
    origin, arguments = get_origin(annotation), [each for each in get_args(annotation) if each not in (NoneType, ...)]
    if origin is Annotated:
        schema = _of_type(arguments[0])
        for meta in _metas(annotation):
            _add(schema, meta)
        return schema
    if origin in (Union, UnionType):
        # The keywords of a union of several types, such as `IntOrString`, come from its annotation.
        return _of_type(arguments[0]) if len(arguments) == 1 else {}
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return _of_struct(annotation)
    return _of_collection(origin, arguments) or {"type": _SCALARS[annotation]}


def _of_collection(origin: Any, arguments: list[Any]) -> Schema | None:
    if origin is tuple:
        return {"type": "array", "items": _of_type(arguments[0])}
    if origin is dict:
        # The properties of `dict[str, Any]` come from its annotation.
        any_value = arguments[1] is Any
        return {"type": "object"} if any_value else {"type": "object", "additionalProperties": _of_type(arguments[1])}
    return {"type": "string", "enum": arguments} if origin is Literal else None


def _metas(annotation: Any) -> Iterator[msgspec.Meta]:
    if get_origin(annotation) is Annotated:
        yield from (each for each in get_args(annotation)[1:] if isinstance(each, msgspec.Meta))


def _add(schema: Schema, meta: msgspec.Meta) -> None:
    """Add the keywords of an annotation; the rules of several annotations add up."""
    for name, value in (meta.extra_json_schema or {}).items():
        schema[name] = [*schema.get(name, ()), *value] if name == CEL_RULES else value
