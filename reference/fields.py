"""The fields of a resource for the reference page: its structs and its schema, walked side by side.

A struct gives a field its description, the schema its type, default and constraints. Conditions have a page of their
own, and a schema that a struct takes as a whole (a Placement's spec) is not walked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from federation.api.meta import Condition
from reference.schema import description_of, struct_in

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a resource."""

    path: str
    """Path from the resource's root, `[]` after a list: `spec.server.listeners[].port`."""
    meaning: str
    schema: Schema
    required: bool
    struct: type[msgspec.Struct] | None
    """Struct of the field or of its items; None for a scalar, a map, and a field that is not walked."""

    @property
    def inner(self) -> str:
        """The path that precedes the names of its fields."""
        return f"{self.path}[]" if self.schema["type"] == "array" else self.path

    @property
    def item(self) -> Schema:
        """The schema of the field itself, or of a list's items."""
        return self.schema["items"] if self.schema.get("type") == "array" else self.schema


def fields_of(resource: type[msgspec.Struct], schema: Schema) -> tuple[Field, ...]:
    """Return every field of `spec` and `status`, parents before children, in the order of the structs.

    Args:
        resource: The resource's struct.
        schema: Its schema, as `schema_of` generates it.

    Raises:
        LookupError: A field has no docstring; the message names it.
    """
    return tuple(_walk(resource, schema, "", only=("spec", "status")))


def _walk(
    struct: type[msgspec.Struct], schema: Schema, path: str, only: tuple[str, ...] | None = None
) -> Iterator[Field]:
    for field in msgspec.structs.fields(struct):
        if only is not None and field.name not in only:
            continue
        inner = struct_in(field.type)
        found = Field(
            path=f"{path}.{field.encode_name}".lstrip("."),
            meaning=description_of(struct, field),
            schema=schema["properties"][field.encode_name],
            required=field.encode_name in schema.get("required", ()),
            struct=None if inner is Condition else inner,
        )
        yield found
        if found.struct is not None:
            yield from _walk(found.struct, found.item, found.inner)
