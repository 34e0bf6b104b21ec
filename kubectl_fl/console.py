"""What is printed, and where: lines to the standard output, what goes on meanwhile to the standard error.

Escape sequences that redraw a page are made here and nowhere else; every text that passes is made harmless once more.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from kubectl_fl.terminal_text import sanitize, truncate

_DEFAULT_ROWS: Final = 24
_DEFAULT_COLUMNS: Final = 80


class Console:
    """The person's terminal, or what stands in its place."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        """Write to these."""
        self._out, self._err = out, err
        self._drawn = 0

    @property
    def can_redraw(self) -> bool:
        """Whether the output is a terminal on which a page can be drawn over."""
        return self._out.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def print_lines(self, lines: Iterable[str]) -> None:
        """Prints the lines."""
        for line in lines:
            self._out.write(sanitize(line) + "\n")
        self._out.flush()

    def print_raw(self, text: str) -> None:
        """Prints a text as it is; on a terminal, but for what that would obey."""
        self._out.write(sanitize(text) if self._out.isatty() else text)
        self._out.flush()

    def report(self, line: str) -> None:
        """Says what goes on, on the standard error."""
        self._err.write(sanitize(line) + "\n")
        self._err.flush()

    def draw_page(self, lines: Sequence[str]) -> None:
        """Draws the page over the one before."""
        size = shutil.get_terminal_size((_DEFAULT_COLUMNS, _DEFAULT_ROWS))
        text, self._drawn = render_frame(lines, size.columns, size.lines, self._drawn)
        self._out.write(text)
        self._out.flush()


def render_frame(lines: Sequence[str], columns: int, rows: int, drawn: int) -> tuple[str, int]:
    """What draws the page over the `drawn` lines before, and how many lines it has.

    A line that wrapped, or a page that scrolled, could not be drawn over: both are cut to the terminal.
    """
    whole = [truncate(sanitize(line).replace("\n", " "), columns) for line in lines]
    shown = (
        whole
        if len(whole) < rows
        else [*whole[: max(1, rows - 2)], truncate("… (the window has no more lines)", columns)]
    )
    back = f"\x1b[{drawn}A" if drawn else ""
    return back + "\r\x1b[J" + "".join(f"{line}\n" for line in shown), len(shown)
