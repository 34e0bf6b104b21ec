"""Waiting for an object's condition, by a kubectl that answers as the real one does."""

from pathlib import Path

import pytest

from fleet.cluster.lifecycle import wait_for
from fleet.command import CommandFailed
from fleet.layout import Layout

SPOKE = Layout(Path("/nowhere"), Path("/nowhere")).cluster("spoke1")
TOO_NEW = "error: .status.conditions accessor error: <nil> is of the type <nil>, expected []interface{}"


def kubectl(folder: Path, words: str) -> Path:
    """A kubectl that fails with these words the first time, and then succeeds."""
    program = folder / "kubectl"
    program.write_text(
        f'#!/bin/sh\n[ -e {folder}/asked ] && exit 0\ntouch {folder}/asked\necho "{words}" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    return folder


async def test_an_object_too_new_to_have_conditions_is_asked_again(tmp_path: Path) -> None:
    await wait_for(kubectl(tmp_path, TOO_NEW), SPOKE, "condition=Established", "crd/a")

    assert (tmp_path / "asked").exists()


async def test_any_other_failure_is_one(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="timed out"):
        await wait_for(kubectl(tmp_path, "error: timed out waiting"), SPOKE, "condition=Established", "crd/a")
