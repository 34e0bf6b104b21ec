"""The descriptions in a CRD, by which `kubectl explain` speaks, brought to the words of the types.

Line by line in the text, because a CRD is written by hand: its comments, anchors and order stay.
"""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reference.fields import Field

WIDTH = 120
_KEY = "description"


@dataclass(frozen=True, slots=True, order=True)
class _Edit:
    """These lines in place of those from `start` to before `end`."""

    start: int
    end: int
    lines: tuple[str, ...]


def described(crd: str, fields: Iterable[Field]) -> str:
    """The CRD with the meaning of each field as its description.

    Args:
        crd: The text of a CRD with one version.
        fields: Of its resource, as `fields_of` finds them.

    Raises:
        LookupError: Fields of different meanings share one schema by an alias.
    """
    root = yaml.compose(crd, Loader=yaml.SafeLoader)
    if root is None:
        return crd
    version = _items(_child(_child(root, "spec"), "versions"))[0]
    schema = _child(_child(version, "schema"), "openAPIV3Schema")
    lines = crd.splitlines()
    edits = {_edit(lines, _schema_at(schema, field.path), field.meaning) for field in fields}
    by_line = {edit.start: edit for edit in edits}
    if len(by_line) < len(edits):
        shared = sorted(edits - set(by_line.values()))
        raise LookupError(f"an alias gives one description to fields that have several: {shared[0].lines}")
    for edit in sorted(edits, reverse=True):
        lines[edit.start : edit.end] = edit.lines
    return "\n".join(lines) + "\n"


def _edit(lines: list[str], schema: Node, meaning: str) -> _Edit:
    """A schema that an alias repeats is one node, so that its edit is one too."""
    keys = {key.value: key for key, _ in _pairs(schema)}
    place = keys.get(_KEY) or keys.get("format") or keys["type"]
    column, line = place.start_mark.column, place.start_mark.line
    new = tuple(_written(meaning, column))
    if _KEY not in keys:
        return _Edit(line + 1, line + 1, new)
    below = takewhile(lambda text: not text.strip() or len(text) - len(text.lstrip()) > column, lines[line + 1 :])
    return _Edit(line, line + 1 + sum(1 for _ in below), new)


def _written(meaning: str, column: int) -> Iterator[str]:
    indent = " " * column
    plain = f"{indent}{_KEY}: {meaning}"
    if len(plain) <= WIDTH and _is_plain(meaning):
        yield plain
        return
    yield f"{indent}{_KEY}: >-"
    yield from textwrap.wrap(
        meaning,
        WIDTH,
        initial_indent=indent + "  ",
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _is_plain(text: str) -> bool:
    """Whether YAML reads the text as itself without quotes."""
    try:
        return bool(yaml.safe_load(f"{_KEY}: {text}") == {_KEY: text})
    except yaml.YAMLError:
        return False


def _schema_at(schema: Node, path: str) -> Node:
    for step in path.split("."):
        name = step.removesuffix("[]")
        schema = _child(_child(schema, "properties"), name)
        if step.endswith("[]"):
            schema = _child(schema, "items")
    return schema


def _pairs(node: Node) -> list[tuple[ScalarNode, Node]]:
    return list(node.value) if isinstance(node, MappingNode) else []


def _items(node: Node) -> list[Node]:
    return list(node.value) if isinstance(node, SequenceNode) else []


def _child(node: Node, name: str) -> Node:
    return next(value for key, value in _pairs(node) if key.value == name)
