"""The text, code and resources of the Markdown pages, for tests that compare them with the product."""

import re
from pathlib import Path
from typing import Any

import yaml

from federation.kube.resource import Json

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def text(page: str) -> str:
    """Return the text of a page of `docs/`."""
    return (DOCS / page).read_text(encoding="utf-8")


def code(words: str) -> list[str]:
    """Return the inline code spans."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", words, flags=re.DOTALL))


def rows(page: str) -> list[list[str]]:
    """Return the rows of all tables of a page, as their cells."""
    lines = [line for line in text(page).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks in a language, without the indentation of a surrounding list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text(page), re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) + "\n" for indent, block in found]


def resources(page: str) -> list[Any]:
    """Return the documents of the YAML blocks; one without a kind is a part of a FederatedLearning's spec."""
    return [document for block in blocks(page, "yaml") for document in yaml.safe_load_all(block)]


def documented_runs(page: str) -> list[Json]:
    """Return the page's FederatedLearnings; a part of a spec is merged into the first run of `runs.md`."""
    found = [each for each in resources(page) if each.get("kind", "FederatedLearning") == "FederatedLearning"]
    smallest: Json = next(each for each in resources("runs.md") if each.get("kind") == "FederatedLearning")
    return [each if "kind" in each else merged(smallest, each) for each in found]


def merged(base: Json, over: Json) -> Json:
    """Apply `over` to `base` as a merge patch."""
    return base | {
        name: merged(base[name], value) if isinstance(value, dict) and isinstance(base.get(name), dict) else value
        for name, value in over.items()
    }
