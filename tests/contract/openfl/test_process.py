"""The process as its container starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from federation.runtime_contract import ExitCode
from tests.support.builders.workspaces import DIGITS, copy_of_digits

pytestmark = pytest.mark.openfl

REPOSITORY = Path(__file__).parents[3]


def start(arguments: list[str], workspace: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the process with only its own environment, as in a container: no path but that of our packages."""
    return subprocess.run(
        [sys.executable, "-m", "runtimes.openfl", *arguments],
        cwd=workspace,
        env={
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.environ["PATH"],
            "FL_WORKSPACE": str(workspace),
            "FL_TERMINATION_LOG": str(folder / "termination-log"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_export_leaves_plan_and_model_and_ends_well(tmp_path: Path) -> None:
    done = start(["export", str(tmp_path)], DIGITS, tmp_path)

    assert done.returncode == ExitCode.DONE, done.stdout + done.stderr
    assert json.loads((tmp_path / "plan.json").read_bytes())["firstModel"] == "first-model.safetensors"
    assert (tmp_path / "first-model.safetensors").stat().st_size > 0
    assert not (tmp_path / "termination-log").exists()


def test_every_line_of_its_log_is_one_object(tmp_path: Path) -> None:
    done = start(["export", str(tmp_path)], DIGITS, tmp_path)

    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert "plan_exported" in events
    assert done.stderr == ""


def test_a_workspace_that_fails_ends_with_its_own_status_and_message(tmp_path: Path) -> None:
    workspace = copy_of_digits(tmp_path, replace={"src/taskrunner.py": ("import numpy as np\n", "import torhc\n")})

    done = start(["export", str(tmp_path)], workspace, tmp_path)

    assert done.returncode == ExitCode.WORKSPACE_FAILED
    told = json.loads((tmp_path / "termination-log").read_bytes())
    assert (told["reason"], told["file"]) == ("WorkspaceFailed", "src/taskrunner.py")


def test_the_values_of_a_sites_variables_are_in_no_log(tmp_path: Path) -> None:
    workspace = copy_of_digits(
        tmp_path,
        replace={
            "src/taskrunner.py": (
                "Tensors = dict[Any, Any]\n",
                "patient = 'Jane ' + 'Doe'\nraise ValueError('no such column')\n",
            )
        },
    )

    done = start(["export", str(tmp_path)], workspace, tmp_path)

    assert "no such column" in done.stdout
    assert "Jane Doe" not in done.stdout + done.stderr


def test_settings_that_are_missing_are_named_in_the_termination_message(tmp_path: Path) -> None:
    done = start(["run"], DIGITS, tmp_path, FL_CLUSTER="c1")

    assert done.returncode == ExitCode.SETTINGS_REFUSED
    message = json.loads((tmp_path / "termination-log").read_bytes())["message"]
    assert all(name in message for name in ("FL_RUN", "FL_RUN_ID", "FL_AGGREGATORS", "FL_SERVER_NAME"))
    assert "FL_CLUSTER" not in message
