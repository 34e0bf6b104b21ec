"""OpenFL workspaces for tests: the digits example as it is, or a copy of it with something else in one file."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from runtimes.kit.config import CollaboratorConfig, WorkspaceConfig

DIGITS = Path(__file__).parents[3] / "examples" / "digits-openfl"


def config(workspace: Path, folder: Path, data: Path | None = None) -> CollaboratorConfig:
    """The settings of a collaborator of cluster c1; its termination message is written into a folder."""
    return CollaboratorConfig(
        run="digits/digits",
        run_id="8a6e0804-2bd0-4672-b79d-d97027f9071a",
        cluster="c1",
        aggregators=("aggregator:8443",),
        server_name="digits.digits.aggregator.federated-learning.internal",
        data=data if data is not None else folder / "data",
        tls=folder / "tls",
        deadline=60.0,
        workspace=WorkspaceConfig(workspace, workspace / "plan" / "plan.yaml", folder / "termination-log", "info"),
    )


def copy_of_digits(
    folder: Path,
    *,
    replace: Mapping[str, tuple[str, str]] | None = None,
    plan: Callable[[dict[str, Any]], object] | None = None,
) -> Path:
    """A copy of the example.

    Args:
        folder: where to.
        replace: of these files, one text for another, which has to occur.
        plan: changes the plan in place.
    """
    workspace = Path(shutil.copytree(DIGITS, folder / "workspace", ignore=shutil.ignore_patterns("__pycache__")))
    for name, (old, new) in (replace or {}).items():
        text = (workspace / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        (workspace / name).write_text(text.replace(old, new), encoding="utf-8")
    if plan is not None:
        path = workspace / "plan" / "plan.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        plan(content)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return workspace


BROKEN_AT_ONCE: Final = "import numpy as np\n"
BROKEN_IN_TRAINING: Final = "        pixels, labels = self.data_loader.get_train_loader()\n"
"""Lines of the task runner before which an import can fail: where it is loaded, and where a round is worked on."""


def with_missing_import(folder: Path, before: str) -> tuple[Path, int]:
    """A copy of the example that imports what isn't there, before that line of its task runner; the import's line."""
    indent = before[: len(before) - len(before.lstrip())]
    broken = f"{indent}import no_such_package\n{before}"
    workspace = copy_of_digits(folder, replace={"src/taskrunner.py": (before, broken)})
    return workspace, line_of(workspace / "src" / "taskrunner.py", "import no_such_package")


def line_of(file: Path, text: str) -> int:
    """The number of the first line with a text."""
    lines = file.read_text(encoding="utf-8").split(os.linesep)
    return next(number for number, line in enumerate(lines, start=1) if text in line)
