"""The fields of a resource: its structs and its CRD's schema gone through side by side.

A struct gives a field its meaning, the schema its type, default and constraints. Where a field's type is a struct and
nothing stands beneath the field, the struct's own docstring is its meaning. Conditions are the same everywhere and have
a page of their own; what a schema has and the structs take whole (a Placement's spec) is not gone into.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import msgspec

from federation.api.meta import Condition
from reference.docstrings import documented, summary

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a resource."""

    path: str
    """From the resource's root, `[]` after an array: `spec.server.listeners[].port`."""
    meaning: str
    schema: Schema
    required: bool
    struct: type[msgspec.Struct] | None
    """What it, or each of its items, is made of; None for a scalar, a map, or what is not gone into."""

    @property
    def inner(self) -> str:
        """The path under which its own fields stand."""
        return f"{self.path}[]" if self.schema["type"] == "array" else self.path

    @property
    def item(self) -> Schema:
        """The schema of the field itself, or of an array's items."""
        return self.schema["items"] if self.schema.get("type") == "array" else self.schema


def fields_of(resource: type[msgspec.Struct], schema: Schema) -> tuple[Field, ...]:
    """Every field of `spec` and `status`, parents before what is in them, in the order of the structs.

    Args:
        resource: The resource's struct.
        schema: The `openAPIV3Schema` of its CRD.

    Raises:
        LookupError: A field has no docstring, or is in the struct alone; the message names it.
    """
    return tuple(_walk(resource, schema, "", only=("spec", "status")))


def _walk(
    struct: type[msgspec.Struct], schema: Schema, path: str, only: tuple[str, ...] | None = None
) -> Iterator[Field]:
    for field in msgspec.structs.fields(struct):
        if only is not None and field.name not in only:
            continue
        here = f"{path}.{field.encode_name}".lstrip(".")
        found = schema.get("properties", {}).get(field.encode_name)
        if found is None:
            raise LookupError(f"{here}: in the type, and not in the CRD")
        made_of = _struct_in(field.type)
        made = Field(
            path=here,
            meaning=_meaning(struct, field.name, made_of, here),
            schema=found,
            required=field.encode_name in schema.get("required", ()),
            struct=None if made_of is Condition else made_of,
        )
        yield made
        if made.struct is not None:
            yield from _walk(made.struct, made.item, made.inner)


def _meaning(owner: type[msgspec.Struct], name: str, made_of: type[msgspec.Struct] | None, path: str) -> str:
    own = documented(owner).get(name)
    if own is not None:
        return own
    if made_of is None:
        raise LookupError(f"{path} ({owner.__name__}.{name}): write a docstring beneath it")
    return summary(made_of)


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """The struct that a type is, or holds one or many of."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    if get_origin(annotation) is dict:
        return None
    return next((found for inner in get_args(annotation) if (found := _struct_in(inner)) is not None), None)
