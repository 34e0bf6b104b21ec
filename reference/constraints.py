"""A schema in words: the type, default and constraints of a field."""

from collections.abc import Iterator
from typing import Any

from federation.api.schema import CEL_RULES
from reference.fields import Field, Schema
from reference.markdown import code


def type_of(schema: Schema) -> str:
    """Return the type in one or two words."""
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    match schema["type"]:
        case "array":
            return f"list of {_many(type_of(schema['items']))}"
        case "object" if "additionalProperties" in schema:
            return f"map of {_many(type_of(schema['additionalProperties']))}"
        case "string" if schema.get("format") == "date-time":
            return "time"
        case found:
            return str(found)


def default_of(schema: Schema) -> str:
    """Return the default that the API server writes, or an empty text."""
    return code(_yaml(schema["default"])) if "default" in schema else ""


def constraints_of(field: Field) -> Iterator[str]:
    """Yield a sentence for each constraint, and the API server's message for each rule."""
    if field.required:
        yield "Required."
    yield from _of_values(field.item)
    yield from _of_size(field.schema)
    if field.struct is None:
        yield from (f"Otherwise rejected: *{message}*." for message in messages(field.item))


def messages(schema: Schema) -> Iterator[str]:
    """Yield the messages of the schema's rules."""
    yield from (rule["message"] for rule in schema.get(CEL_RULES, ()))


def _of_values(schema: Schema) -> Iterator[str]:
    if "enum" in schema:
        yield f"One of {', '.join(code(value) for value in schema['enum'])}."
    low, high = schema.get("minimum"), schema.get("maximum")
    open_below, open_above = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    match low, high:
        case None, None:
            return
        case _, None:
            yield f"{'More than' if open_below else 'At least'} {low:,}."
        case None, _:
            yield f"{'Less than' if open_above else 'At most'} {high:,}."
        case _:
            yield f"{low:,} to {'below ' if open_above else ''}{high:,}."


def _of_size(schema: Schema) -> Iterator[str]:
    counted = (("Items", "entries"), ("Properties", "entries"), ("Length", "characters"))
    for key, unit in counted:
        least, most = schema.get(f"min{key}"), schema.get(f"max{key}")
        if least and most:
            yield f"{least:,} to {most:,} {unit}."
        elif most:
            yield f"At most {most:,} {unit}."


def _many(word: str) -> str:
    return "quantities" if word == "quantity" else f"{word}s"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
