"""`docs/reference/api.md`: every field of the resources, with one section and table for each struct."""

from collections.abc import Iterator, Sequence

from federation.api.meta import FEDERATION_GROUP, FEDERATION_VERSION
from reference.constraints import constraints_of, default_of, messages, type_of
from reference.fields import Field, Schema
from reference.markdown import anchor, bullets, code, page, paragraph, sentence, table
from reference.resources import RESOURCES, Documented

_REFUSED = "The API server rejects an object that breaks a rule, with the message:"


def api_page(resources: Sequence[Documented] = RESOURCES) -> str:
    """Return the page."""
    opening = paragraph(
        f"Fields of the resources in `{FEDERATION_GROUP}/{FEDERATION_VERSION}`; `kubectl explain` shows the same "
        "descriptions. For guides see [runs.md](../runs.md), [datasets.md](../datasets.md) and "
        "[collaborators.md](../collaborators.md), for conditions [conditions.md](conditions.md)."
    )
    contents = bullets(f"[{_name(each)}](#{anchor(_name(each))})" for each in resources)
    return page("API reference", opening, contents, *(block for each in resources for block in _resource(each)))


def _resource(documented: Documented) -> Iterator[str]:
    yield f"## {_name(documented)}"
    yield paragraph(f"{sentence(_words(documented.schema['description']))} {documented.where}")
    yield _rules(documented.schema)
    for root in (field for field in documented.fields if "." not in field.path):
        yield from _section(documented, root)


def _section(documented: Documented, field: Field) -> Iterator[str]:
    own = [each for each in documented.fields if _parent(each.path) == field.inner]
    yield f"### {_heading(documented, field)}"
    yield paragraph(sentence(field.meaning))
    if field.path.partition(".")[0] == "status":
        rows = [
            (_named(documented, each), type_of(each.schema), documented.status_owner(each), _description(each))
            for each in own
        ]
        yield table(("field", "type", "written by", "description"), rows)
    else:
        cells = [
            (_named(documented, each), type_of(each.schema), default_of(each.schema), _description(each))
            for each in own
        ]
        yield table(("field", "type", "default", "description"), cells)
    yield _rules(field.item)
    for each in own:
        if each.struct is not None:
            yield from _section(documented, each)


def _rules(schema: Schema) -> str:
    """Return the messages of the rules on several fields."""
    found = list(messages(schema))
    return f"{_REFUSED}\n{bullets(found)}" if found else ""


def _description(field: Field) -> str:
    if field.path == "status.conditions":
        return "Conditions and their reasons: [conditions.md](conditions.md)."
    return " ".join([sentence(field.meaning), *constraints_of(field)])


def _named(documented: Documented, field: Field) -> str:
    name = code(field.path.rpartition(".")[2])
    return name if field.struct is None else f"[{name}](#{anchor(_heading(documented, field))})"


def _heading(documented: Documented, field: Field) -> str:
    return f"{_name(documented)} {field.inner}"


def _name(documented: Documented) -> str:
    return documented.kind.kind


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _words(text: str) -> str:
    return " ".join(text.split())
