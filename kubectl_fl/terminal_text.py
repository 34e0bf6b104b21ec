"""Text for a terminal: sanitized, aligned, truncated.

Spokes and images write messages, logs and names, which may contain escape sequences. Text from a cluster passes
`sanitize` or `one_line` before it is printed: both remove control characters except the line feed, and characters that
change the writing direction, which can disguise a line (CVE-2021-42574).
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
    """Remove escape sequences and replace other control characters except line feeds."""
    plain = _ESCAPE_SEQUENCE.sub("", _LINE_END.sub("\n", text)).replace("\t", "    ")
    return "".join(c if c == "\n" or unicodedata.category(c) not in _UNSAFE_CATEGORIES else REPLACEMENT for c in plain)


def one_line(text: str) -> str:
    """Sanitize the text and join its lines."""
    return " ".join(sanitize(text).split())


def display_width(text: str) -> int:
    """Return the number of terminal columns of the text (Unicode TR 11)."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def truncate(text: str, columns: int) -> str:
    """Truncate the text to the columns, ending it with an ellipsis."""
    if display_width(text) <= columns:
        return text
    kept, taken = [], 0
    for character in text:
        taken += _columns(character)
        if taken > columns - 1:
            break
        kept.append(character)
    return "".join(kept) + ELLIPSIS


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return aligned lines of sanitized cells; columns of numbers are right-aligned."""
    body = [[one_line(cell) for cell in row] for row in rows]
    columns = list(zip(header, *body, strict=True))
    widths = [max(map(display_width, column)) for column in columns]
    right = [len(column) > 1 and all(_is_number(cell) for cell in column[1:]) for column in columns]
    return [
        ("   ".join(_padded(cell, size, right=to) for cell, size, to in zip(row, widths, right, strict=True))).rstrip()
        for row in (header, *body)
    ]


def _padded(cell: str, size: int, *, right: bool) -> str:
    space = " " * (size - display_width(cell))
    return space + cell if right else cell + space


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9.]+(e[+-]?[0-9]+)?|-", cell))


def parse_timestamp(text: str) -> datetime | None:
    """Parse a Kubernetes timestamp (RFC 3339); return None if it is invalid."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def format_duration(span: timedelta) -> str:
    """Format a duration in the most readable unit."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"


def format_age(text: str, now: datetime) -> str:
    """Format the age of a Kubernetes timestamp; return `-` if it is invalid."""
    when = parse_timestamp(text)
    return "-" if when is None else f"{format_duration(now - when)} ago"


def format_bytes(size: int) -> str:
    """Format a number of bytes with a binary unit."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
