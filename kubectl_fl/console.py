"""What is printed, and where: lines to the standard output, what goes on meanwhile to the standard error.

Escape sequences that redraw a page are made here and nowhere else; every text that passes is made harmless once more.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from kubectl_fl.terminal_text import cut, harmless

_ROWS: Final = 24
_COLUMNS: Final = 80


class Console:
    """The person's terminal, or what stands in its place."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        """Write to these."""
        self._out, self._err = out, err
        self._drawn = 0

    @property
    def redraws(self) -> bool:
        """Whether the output is a terminal on which a page can be drawn over."""
        return self._out.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def lines(self, lines: Iterable[str]) -> None:
        """Prints the lines."""
        for line in lines:
            self._out.write(harmless(line) + "\n")
        self._out.flush()

    def handed_through(self, text: str) -> None:
        """Prints a text as it is; on a terminal, but for what that would obey."""
        self._out.write(harmless(text) if self._out.isatty() else text)
        self._out.flush()

    def tell(self, line: str) -> None:
        """Says what goes on, on the standard error."""
        self._err.write(harmless(line) + "\n")
        self._err.flush()

    def page(self, lines: Sequence[str]) -> None:
        """Draws the page over the one before."""
        size = shutil.get_terminal_size((_COLUMNS, _ROWS))
        text, self._drawn = frame(lines, size.columns, size.lines, self._drawn)
        self._out.write(text)
        self._out.flush()


def frame(lines: Sequence[str], columns: int, rows: int, drawn: int) -> tuple[str, int]:
    """What draws the page over the `drawn` lines before, and how many lines it has.

    A line that wrapped, or a page that scrolled, could not be drawn over: both are cut to the terminal.
    """
    whole = [cut(harmless(line).replace("\n", " "), columns) for line in lines]
    shown = (
        whole if len(whole) < rows else [*whole[: max(1, rows - 2)], cut("… (the window has no more lines)", columns)]
    )
    back = f"\x1b[{drawn}A" if drawn else ""
    return back + "\r\x1b[J" + "".join(f"{line}\n" for line in shown), len(shown)
