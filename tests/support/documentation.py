"""What a page of `docs/` says, taken apart: its tables, its blocks of code, and the resources in them."""

import re
from pathlib import Path
from typing import Any

import yaml

from federation.kube.resource import Json

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def text(page: str) -> str:
    """The page."""
    return (DOCS / page).read_text(encoding="utf-8")


def table(page: str, *heading: str) -> list[list[str]]:
    """The rows of the first table with that heading."""
    lines = iter(text(page).splitlines())
    next(line for line in lines if cells(line) == list(heading))
    next(lines)
    rows: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(cells(line))
    return rows


def cells(line: str) -> list[str]:
    """The cells of a table's row."""
    return [cell.strip() for cell in line[1:-1].split("|")]


def code(words: str) -> list[str]:
    """What is written as code."""
    return re.findall(r"`([^`]+)`", words)


def blocks(page: str, language: str) -> list[str]:
    """The blocks of that language, without the indentation of a list that they are in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text(page), re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) + "\n" for indent, block in found]


def resources(page: str) -> list[Any]:
    """The documents of the page's YAML blocks; one without a kind is a part of a FederatedLearning's spec."""
    return [document for block in blocks(page, "yaml") for document in yaml.safe_load_all(block)]


def documented_runs(page: str) -> list[Json]:
    """The page's FederatedLearnings, and its parts of a spec, each in the smallest run of `runs.md`."""
    found = [each for each in resources(page) if each.get("kind", "FederatedLearning") == "FederatedLearning"]
    smallest: Json = next(each for each in resources("runs.md") if each.get("kind") == "FederatedLearning")
    return [each if "kind" in each else merged(smallest, each) for each in found]


def merged(base: Json, over: Json) -> Json:
    """The one with what the other says, as a merge patch has it."""
    return base | {
        name: merged(base[name], value) if isinstance(value, dict) and isinstance(base.get(name), dict) else value
        for name, value in over.items()
    }
