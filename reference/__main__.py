"""Write the generated files (`python -m reference write`), or compare them with the types (`check`)."""

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from reference.api_page import api_page
from reference.conditions_page import conditions_page
from reference.resources import REPOSITORY, RESOURCES

PAGES: Final = REPOSITORY / "docs" / "reference"
_SHOWN: Final = 40
"""Maximum lines of a file's difference that are printed."""


def generated() -> dict[Path, str]:
    """Return the content of every generated file.

    Raises:
        LookupError: A field, a member or a constant has no docstring; the message names it.
    """
    crds = {each.crd: each.text for each in RESOURCES}
    return crds | {PAGES / "api.md": api_page(), PAGES / "conditions.md": conditions_page()}


def drifted(wanted: Mapping[Path, str]) -> list[Path]:
    """Return the files whose content differs."""
    return [path for path, text in wanted.items() if _present(path) != text]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit status of the process."""
    parser = argparse.ArgumentParser(prog="python -m reference", description="Generate the CRDs and docs/reference.")
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
        print("generated files are out of date: run make reference and commit the result", file=sys.stderr)
    return 1 if outdated else 0


def _show(path: Path, wanted: str) -> None:
    name = str(path.relative_to(REPOSITORY))
    lines = difflib.unified_diff(
        _present(path).splitlines(), wanted.splitlines(), name, f"{name} (generated)", lineterm=""
    )
    shown = list(lines)
    print("\n".join(shown[:_SHOWN]), file=sys.stderr)
    if len(shown) > _SHOWN:
        print(f"… and {len(shown) - _SHOWN} more lines", file=sys.stderr)


def _present(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
