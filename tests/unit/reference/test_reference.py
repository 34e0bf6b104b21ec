"""The reference is that of the types: nothing is left out, nothing is said twice, and a difference is seen."""

import ast
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import msgspec
import pytest
import yaml

from reference.__main__ import drifted, generated, main
from reference.api_page import api_page
from reference.conditions_page import by_condition, conditions_page
from reference.crd import described
from reference.docstrings import member_meanings
from reference.fields import Field, fields_of
from reference.markdown import anchor, table
from reference.resources import REPOSITORY, RESOURCES, writer_in_run

NEVER_SHOWN = {"PlanMalformed", "PlanUnsupported"}
"""`PlanRefused` is what a reader sees of them; the message has the settings."""
CRD = """\
# A comment stays.
spec:
  versions:
    - schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                size: &size
                  type: integer
                  format: int32
                  minimum: 1
                name:
                  type: string
                  description: >-
                    What it was called
                    before.
                  maxLength: 3
"""


class _Spec(msgspec.Struct, frozen=True):
    """What is asked for."""

    size: int = 0
    """How large: in `bytes`."""
    name: str = ""
    """What it is called."""


class _Resource(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


class _Undocumented(Enum):
    SILENT = "Silent"


class _OfNothing(Enum):
    STRAY = "Stray"
    """It says of no condition that it is its reason."""


def _fields(crd: str = CRD) -> tuple[Field, ...]:
    return fields_of(_Resource, yaml.safe_load(crd)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def test_what_is_committed_is_what_the_types_say() -> None:
    assert drifted(generated()) == []


def test_a_difference_is_seen_and_named(tmp_path: Path) -> None:
    there, absent = tmp_path / "there.md", tmp_path / "absent.md"
    there.write_text("as it is\n", encoding="utf-8")

    assert drifted({there: "as it is\n", absent: "new\n"}) == [absent]


def test_checking_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    page = REPOSITORY / "docs/reference/api.md"
    monkeypatch.setattr("reference.__main__.generated", lambda: {page: page.read_text(encoding="utf-8") + "more\n"})

    assert main(["check"]) == 1
    said = capsys.readouterr().err
    assert "+more" in said
    assert "run make reference" in said


def test_a_crd_takes_the_words_of_the_types_and_keeps_everything_else() -> None:
    written = described(CRD, _fields())

    assert written.splitlines()[0] == "# A comment stays."
    assert "size: &size\n                  type: integer\n                  format: int32\n" in written
    spec = yaml.safe_load(written)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["description"] == "What is asked for."
    assert spec["properties"]["size"] == {
        "type": "integer",
        "format": "int32",
        "description": "How large: in `bytes`.",
        "minimum": 1,
    }
    assert spec["properties"]["name"] == {"type": "string", "description": "What it is called.", "maxLength": 3}


def test_writing_a_crd_twice_changes_nothing() -> None:
    once = described(CRD, _fields())

    assert described(once, _fields(once)) == once


def test_fields_of_two_meanings_cannot_share_one_schema() -> None:
    shared = CRD[: CRD.index("                name:")] + "                name: *size\n"

    with pytest.raises(LookupError, match="alias"):
        described(shared, _fields(shared))


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

    assert {writer_in_run(field) for field in fields} == {"hub manager", "aggregator", "both"}


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
