"""The entry point rejects unknown arguments with a reason, instead of the bare exit status 2 of argparse."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from federation.runtime_contract import ExitCode

REPOSITORY = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--verbose"], "--verbose"),
        (["train"], "train"),
        (["run", "--epochs", "3"], "--epochs"),
        (["--help"], "--help"),
        (["x" * 5000], "xxx"),
    ],
    ids=["flag", "command", "after the command", "help", "long"],
)
def test_arguments_of_a_run_are_refused_with_the_remedy_in_the_termination_message(
    tmp_path: Path, arguments: list[str], named: str
) -> None:
    log = tmp_path / "termination-log"

    done = subprocess.run(
        [sys.executable, "-m", "runtimes.openfl", *arguments],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "FL_TERMINATION_LOG": str(log)},
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == ExitCode.SETTINGS_REFUSED
    told = json.loads(log.read_bytes())
    assert told["reason"] == "SettingsRefused"
    assert named in told["message"]
    assert "leave spec.client.args empty" in told["message"]
    assert len(log.read_bytes()) < 4096
    assert done.stderr == b""
