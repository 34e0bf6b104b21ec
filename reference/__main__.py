"""`python -m reference write` writes the reference anew, `check` says what of it isn't as it would be written."""

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from reference.api_page import api_page
from reference.conditions_page import conditions_page
from reference.crd import described
from reference.resources import REPOSITORY, RESOURCES

PAGES: Final = REPOSITORY / "docs" / "reference"
_SHOWN: Final = 40
"""Lines of a difference that are printed for a file."""


def generated() -> dict[Path, str]:
    """Every file that is written, whole or in part, with what it has to hold.

    Raises:
        LookupError: A field, a member or a constant has no docstring; the message names it.
    """
    crds = {each.crd: described(each.crd.read_text(encoding="utf-8"), each.fields) for each in RESOURCES}
    return crds | {PAGES / "api.md": api_page(), PAGES / "conditions.md": conditions_page()}


def drifted(wanted: Mapping[Path, str]) -> list[Path]:
    """The files that are not as they would be written."""
    return [path for path, text in wanted.items() if _present(path) != text]


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say; returns the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m reference", description="The reference, from the types.")
    parser.add_argument("command", choices=("write", "check"))
    command = parser.parse_args(arguments).command
    try:
        wanted = generated()
    except LookupError as error:
        print(error, file=sys.stderr)
        return 1
    outdated = drifted(wanted)
    if command == "write":
        for path in outdated:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            print(path.relative_to(REPOSITORY))
        return 0
    for path in outdated:
        _show(path, wanted[path])
    if outdated:
        print("the reference is not that of the types: run make reference, and commit what it wrote", file=sys.stderr)
    return 1 if outdated else 0


def _show(path: Path, wanted: str) -> None:
    name = str(path.relative_to(REPOSITORY))
    lines = difflib.unified_diff(
        _present(path).splitlines(), wanted.splitlines(), name, f"{name}, as the types have it", lineterm=""
    )
    shown = list(lines)
    print("\n".join(shown[:_SHOWN]), file=sys.stderr)
    if len(shown) > _SHOWN:
        print(f"… and {len(shown) - _SHOWN} lines more", file=sys.stderr)


def _present(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
