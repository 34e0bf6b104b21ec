"""The console: results on standard output, progress and errors on standard error.

Only this module emits escape sequences, to redraw a page; it sanitizes all text once more.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from kubectl_fl.terminal_text import sanitize, truncate

_DEFAULT_ROWS: Final = 24
_DEFAULT_COLUMNS: Final = 80


class Console:
    """Standard output and standard error, with or without a terminal."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        """Write to these streams."""
        self._out, self._err = out, err
        self._drawn = 0

    @property
    def can_redraw(self) -> bool:
        """Report whether the output is a terminal that can redraw a page."""
        return self._out.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def print_lines(self, lines: Iterable[str]) -> None:
        """Print the lines."""
        for line in lines:
            self._out.write(sanitize(line) + "\n")
        self._out.flush()

    def print_raw(self, text: str) -> None:
        """Print a text unchanged; sanitize it if the output is a terminal."""
        self._out.write(sanitize(text) if self._out.isatty() else text)
        self._out.flush()

    def report(self, line: str) -> None:
        """Print progress or an error to standard error."""
        self._err.write(sanitize(line) + "\n")
        self._err.flush()

    def draw_page(self, lines: Sequence[str]) -> None:
        """Draw the page over the previous one."""
        size = shutil.get_terminal_size((_DEFAULT_COLUMNS, _DEFAULT_ROWS))
        text, self._drawn = render_frame(lines, size.columns, size.lines, self._drawn)
        self._out.write(text)
        self._out.flush()


def render_frame(lines: Sequence[str], columns: int, rows: int, drawn: int) -> tuple[str, int]:
    """Return the text that draws the page over the previous `drawn` lines, and its number of lines.

    Lines and page are truncated to the terminal: a wrapped line or a scrolled page could not be redrawn.
    """
    whole = [truncate(sanitize(line).replace("\n", " "), columns) for line in lines]
    shown = (
        whole
        if len(whole) < rows
        else [*whole[: max(1, rows - 2)], truncate("… (enlarge the window to see more)", columns)]
    )
    back = f"\x1b[{drawn}A" if drawn else ""
    return back + "\r\x1b[J" + "".join(f"{line}\n" for line in shown), len(shown)
