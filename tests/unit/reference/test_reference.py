"""The CRDs and the reference pages are generated from the types, and a difference is reported."""

import ast
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
import yaml

from federation.api.meta import CustomResource, Struct
from federation.api.schema import (
    REQUIRED,
    Int32,
    IntOrString,
    PrinterColumn,
    bounds,
    items,
    length,
    map_list,
    one_of,
    rule,
)
from federation.kube.resource import Kind
from reference.__main__ import drifted, generated, main
from reference.api_page import api_page
from reference.conditions_page import by_condition, conditions_page
from reference.crd import definition_of, text_of
from reference.docstrings import member_meanings
from reference.markdown import anchor, table
from reference.resources import REPOSITORY, RESOURCES, owner_in_run
from reference.schema import schema_of

NEVER_SHOWN = {"PlanMalformed", "PlanUnsupported"}
"""`PlanRefused` is what a reader sees of them; the message has the settings."""


class _Item(Struct, frozen=True):
    """An item."""

    name: str
    """Name of the item."""


class _Spec(Struct, frozen=True):
    """Specification of the gadget."""

    cel_rules = (rule("self.size > 1", "set size to more than 1", ".size"),)

    size: Annotated[Int32, bounds(1, 9), rule("self != 2", "use another size"), rule("self != 3", "use one more")] = 8
    """Size in `bytes`."""
    name_of_it: Annotated[str, REQUIRED, length(3)] = ""
    """Name: at most three characters."""
    items_of_it: Annotated[tuple[_Item, ...], items(2), map_list("name")] = ()
    colours: dict[str, Annotated[IntOrString, length(5)]] = msgspec.field(default_factory=dict)
    """Amounts by colour."""
    sort: Annotated[str, one_of("Big", "Small")] | None = None
    """Sort of the gadget."""


class _Gadget(CustomResource, frozen=True):
    """A gadget.

    It serves tests.
    """

    short_names = ("gd",)
    printer_columns = (PrinterColumn("Size", ".spec.size", "integer", "In bytes.", 1),)

    spec: _Spec = _Spec()


class _Silent(CustomResource, frozen=True):
    """A resource with an undocumented field."""

    field: str = ""


GADGET = Kind("gadgets.example.com", "v1", "Gadget", "gadgets", True, _Gadget)


class _Undocumented(Enum):
    SILENT = "Silent"


class _OfNothing(Enum):
    STRAY = "Stray"
    """This docstring starts with no condition."""


def test_the_committed_files_match_the_types() -> None:
    assert drifted(generated()) == []


def test_a_difference_is_seen_and_named(tmp_path: Path) -> None:
    there, absent = tmp_path / "there.md", tmp_path / "absent.md"
    there.write_text("as it is\n", encoding="utf-8")

    assert drifted({there: "as it is\n", absent: "new\n"}) == [absent]


def test_a_failed_check_names_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    page = REPOSITORY / "docs/reference/api.md"
    monkeypatch.setattr("reference.__main__.generated", lambda: {page: page.read_text(encoding="utf-8") + "more\n"})

    assert main(["check"]) == 1
    said = capsys.readouterr().err
    assert "+more" in said
    assert "run make reference" in said


def test_a_crd_has_the_types_constraints_rules_and_docstrings_of_the_structs() -> None:
    schema = definition_of(GADGET, {})["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    assert schema["description"] == "A gadget. It serves tests."
    assert schema["properties"]["spec"] == {
        "type": "object",
        "description": "Specification of the gadget.",
        "required": ["nameOfIt"],
        "x-kubernetes-validations": [
            {"rule": "self.size > 1", "message": "set size to more than 1", "fieldPath": ".size"}
        ],
        "properties": {
            "size": {
                "type": "integer",
                "format": "int32",
                "description": "Size in `bytes`.",
                "default": 8,
                "minimum": 1,
                "maximum": 9,
                "x-kubernetes-validations": [
                    {"rule": "self != 2", "message": "use another size"},
                    {"rule": "self != 3", "message": "use one more"},
                ],
            },
            "nameOfIt": {"type": "string", "description": "Name: at most three characters.", "maxLength": 3},
            "itemsOfIt": {
                "type": "array",
                "description": "An item.",
                "maxItems": 2,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string", "description": "Name of the item."}},
                },
            },
            "colours": {
                "type": "object",
                "description": "Amounts by colour.",
                "additionalProperties": {
                    "x-kubernetes-int-or-string": True,
                    "anyOf": [{"type": "integer"}, {"type": "string"}],
                    "maxLength": 5,
                },
            },
            "sort": {"type": "string", "description": "Sort of the gadget.", "enum": ["Big", "Small"]},
        },
    }


def test_a_crd_has_the_names_and_columns_of_the_kind() -> None:
    definition = definition_of(GADGET, {"example.com/kept": "yes"})

    assert definition["metadata"] == {
        "name": "gadgets.gadgets.example.com",
        "annotations": {"example.com/kept": "yes"},
    }
    assert definition["spec"]["names"] == {
        "kind": "Gadget",
        "listKind": "GadgetList",
        "plural": "gadgets",
        "singular": "gadget",
        "shortNames": ["gd"],
        "categories": ["federated-learning"],
    }
    assert definition["spec"]["versions"][0]["additionalPrinterColumns"] == [
        {"name": "Size", "type": "integer", "description": "In bytes.", "jsonPath": ".spec.size", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


def test_the_written_crd_reads_back_as_itself() -> None:
    definition = definition_of(GADGET, {})

    assert yaml.safe_load(text_of(definition, "gadget.py")) == definition


def test_decoding_skips_the_api_servers_validation() -> None:
    decoded = msgspec.convert({"spec": {"size": 100, "sort": "Odd", "colours": {"red": "x" * 9}}}, _Gadget)

    assert (decoded.spec.size, decoded.spec.sort, decoded.spec.name_of_it) == (100, "Odd", "")


def test_a_field_without_a_docstring_is_named() -> None:
    with pytest.raises(LookupError, match=r"_Silent\.field"):
        schema_of(_Silent)


def test_a_member_without_a_meaning_is_named() -> None:
    with pytest.raises(LookupError, match="SILENT"):
        member_meanings(_Undocumented)


def test_a_runs_reason_has_to_say_of_which_condition_it_is() -> None:
    with pytest.raises(LookupError, match="Stray"):
        by_condition(_OfNothing)


def test_every_field_has_a_row_and_every_description_its_words() -> None:
    page = api_page()
    for documented in RESOURCES:
        for field in documented.fields:
            assert field.schema["description"] == field.meaning
            assert f"`{field.path.rpartition('.')[2]}`" in page or "." not in field.path


def test_every_field_of_a_runs_status_has_a_writer() -> None:
    fields = [field for field in RESOURCES[0].fields if field.path.startswith("status.")]

    assert {owner_in_run(field) for field in fields} == {"hub manager", "aggregator", "both"}


def test_no_reason_of_the_product_is_left_out() -> None:
    said = set(re.findall(r"^\| `([A-Za-z]+)` \|", conditions_page(), re.MULTILINE))

    assert set(_reasons()) - NEVER_SHOWN <= said


def _reasons() -> Iterator[str]:
    """The values of every Enum in the source whose name says that it holds reasons."""
    for folder in ("federation", "hub_manager", "spoke_agent"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and node.name.endswith("Reason"):
                    yield from (
                        statement.value.value
                        for statement in node.body
                        if isinstance(statement, ast.Assign)
                        and isinstance(statement.value, ast.Constant)
                        and isinstance(statement.value.value, str)
                    )


@pytest.mark.parametrize("page", [api_page(), conditions_page()], ids=["api", "conditions"])
def test_no_heading_comes_twice(page: str) -> None:
    anchors = [anchor(line) for line in re.findall(r"^#+ (.*)$", page, re.MULTILINE)]

    assert len(set(anchors)) == len(anchors)


def test_a_cell_ends_no_table_and_begins_no_html() -> None:
    row = table(("a",), [("x | y `a|b <c>` <d>\nz",)]).splitlines()[-1]

    assert row == "| x \\| y `a\\|b <c>` &lt;d> z |"
