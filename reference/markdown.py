"""Markdown as GitHub shows it: tables whose cells can hold anything, and paragraphs of the width of the other pages."""

import re
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 120


def page(title: str, *blocks: str) -> str:
    """A whole page; says that it is generated, and by what."""
    return "\n\n".join([f"# {title}", _GENERATED, *(block for block in blocks if block)]) + "\n"


_GENERATED = "<!-- Written by `make reference` from the types' docstrings and the CRDs: change those. -->"


def paragraph(text: str) -> str:
    """Text, wrapped."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty where it would have no row."""
    lines = [_row([_cell(cell) for cell in row]) for row in rows]
    return "\n".join([_row(heading), "|" + "---|" * len(heading), *lines]) if lines else ""


def bullets(lines: Iterable[str]) -> str:
    """A list, one point a line."""
    return "\n".join(
        textwrap.fill(
            line,
            WIDTH,
            initial_indent="- ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    )


def anchor(heading: str) -> str:
    """What GitHub calls a heading in a link (github/markup: lower case, spaces to dashes, punctuation dropped)."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def code(text: object) -> str:
    """As code."""
    return f"`{text}`"


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop."""
    begun = text if text.startswith("`") else text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "!", "?")) else begun + "."


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |" if any(cells) else ""


def _cell(text: str) -> str:
    """A bar ends a cell even within code, and `<` would begin HTML outside of it."""
    escaped = " ".join(text.split()).replace("|", "\\|")
    return "".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(_by_code(escaped)))


def _by_code(text: str) -> list[str]:
    """Every other part is code, with its marks."""
    return re.split(r"(`[^`]*`)", text)
