"""Text for a person's terminal: made harmless, aligned, shortened. Pure.

Messages, logs and names come from sites and images; a terminal obeys what it is sent. So every text that was read from
a cluster passes `harmless` or `one_line` before it is printed: what is left has no control character but the line feed,
and none that turns the direction of writing, by which a line can be made to look like another (CVE-2021-42574).
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

_ESCAPE_SEQUENCE: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences (ECMA-48, 5.4): colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # strings to the terminal: titles, links, the clipboard
    r"|\x1b[ -/]*[0-~]"
)
_LINE_END: Final = re.compile(r"\r\n")
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories: control, format (which has the turns of direction), surrogates, separators of lines."""
REPLACEMENT: Final = "\ufffd"
ELLIPSIS: Final = "…"


def sanitize(text: str) -> str:
    """The text without escape sequences; other characters that a terminal obeys are replaced, line feeds stay."""
    plain = _ESCAPE_SEQUENCE.sub("", _LINE_END.sub("\n", text)).replace("\t", "    ")
    return "".join(c if c == "\n" or unicodedata.category(c) not in _UNSAFE_CATEGORIES else REPLACEMENT for c in plain)


def one_line(text: str) -> str:
    """The text, harmless and in one line."""
    return " ".join(sanitize(text).split())


def display_width(text: str) -> int:
    """Columns that the text takes on a terminal (Unicode TR 11)."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def truncate(text: str, columns: int) -> str:
    """The text, ended by an ellipsis where it takes more columns."""
    if display_width(text) <= columns:
        return text
    kept, taken = [], 0
    for character in text:
        taken += _columns(character)
        if taken > columns - 1:
            break
        kept.append(character)
    return "".join(kept) + ELLIPSIS


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Lines with the cells under each other, each harmless; numbers to the right, the rest to the left."""
    body = [[one_line(cell) for cell in row] for row in rows]
    columns = list(zip(header, *body, strict=True))
    widths = [max(map(display_width, column)) for column in columns]
    right = [len(column) > 1 and all(_is_number(cell) for cell in column[1:]) for column in columns]
    return [
        (
            indent
            + "   ".join(_padded(cell, size, right=to) for cell, size, to in zip(row, widths, right, strict=True))
        ).rstrip()
        for row in (header, *body)
    ]


def _padded(cell: str, size: int, *, right: bool) -> str:
    space = " " * (size - display_width(cell))
    return space + cell if right else cell + space


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9.]+(e[+-]?[0-9]+)?|-", cell))


def parse_timestamp(text: str) -> datetime | None:
    """The time that a text of Kubernetes (RFC 3339) stands for; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def format_duration(span: timedelta) -> str:
    """A span of time in the unit that a person would use."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"


def format_age(text: str, now: datetime) -> str:
    """How long ago a time of Kubernetes was; `-` where there is none."""
    when = parse_timestamp(text)
    return "-" if when is None else f"{format_duration(now - when)} ago"


def format_bytes(size: int) -> str:
    """A number of bytes as a person says it, in powers of 1,024."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
