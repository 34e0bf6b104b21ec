"""`docs/reference/api.md`: every field of the resources, each struct a section with a table of its own."""

from collections.abc import Iterator, Sequence

from reference.constraints import default_of, held_to, messages, type_of
from reference.fields import Field, Schema
from reference.markdown import anchor, bullets, code, page, paragraph, sentence, table
from reference.resources import RESOURCES, Documented

_REFUSED = "What breaks a rule is refused, with the remedy:"


def api_page(resources: Sequence[Documented] = RESOURCES) -> str:
    """The page."""
    group, version = "federation-ai.open-cluster-management.io", "v1alpha1"
    opening = paragraph(
        f"The resources of `{group}/{version}`, field by field. What they are for is told in [runs.md](../runs.md), "
        "[datasets.md](../datasets.md) and [collaborators.md](../collaborators.md); what their conditions mean in "
        "[conditions.md](conditions.md). `kubectl explain` has the same words."
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
            (_named(documented, each), type_of(each.schema), documented.status_writer(each), _told(each))
            for each in own
        ]
        yield table(("field", "type", "written by", "meaning"), rows)
    else:
        cells = [(_named(documented, each), type_of(each.schema), default_of(each.schema), _told(each)) for each in own]
        yield table(("field", "type", "default", "meaning"), cells)
    yield _rules(field.item)
    for each in own:
        if each.struct is not None:
            yield from _section(documented, each)


def _rules(schema: Schema) -> str:
    """What has to hold of several fields together, as the remedies say it."""
    found = list(messages(schema))
    return f"{_REFUSED}\n{bullets(found)}" if found else ""


def _told(field: Field) -> str:
    if field.path == "status.conditions":
        return "[What holds, and why](conditions.md)."
    return " ".join([sentence(field.meaning), *held_to(field)])


def _named(documented: Documented, field: Field) -> str:
    name = code(field.path.rpartition(".")[2])
    return name if field.struct is None else f"[{name}](#{anchor(_heading(documented, field))})"


def _heading(documented: Documented, field: Field) -> str:
    return f"{_name(documented)} {field.inner}"


def _name(documented: Documented) -> str:
    return documented.kind.__name__


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _words(text: str) -> str:
    return " ".join(text.split())
