"""The termination message of a collaborator."""

import runpy
from pathlib import Path

import msgspec
import pytest

from federation.runtime_contract import ExitCode, TerminationMessage
from runtimes.kit import failure
from runtimes.kit.failure import EXIT_CODES, RuntimeFailureReason, message_of

KUBELET_LIMIT = 4096


def raised_by(script: Path) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever the script raises
        runpy.run_path(str(script))
    return caught.value


def test_the_users_line_is_named_though_a_library_raised(tmp_path: Path) -> None:
    script = tmp_path / "src" / "taskrunner.py"
    script.parent.mkdir()
    script.write_text("import json\n\njson.loads('{')\n", encoding="utf-8")

    told = message_of(RuntimeFailureReason.WORKSPACE_FAILED, raised_by(script), tmp_path, task="train", round_number=3)

    assert (told.exception, told.file, told.line) == ("JSONDecodeError", "src/taskrunner.py", 3)
    assert (told.task, told.round) == ("train", 3)


def test_where_no_line_is_the_users_the_innermost_is_named(tmp_path: Path) -> None:
    script = tmp_path / "elsewhere.py"
    script.write_text("raise ValueError('no')\n", encoding="utf-8")

    told = message_of(RuntimeFailureReason.INTERNAL, raised_by(script), tmp_path / "workspace")

    assert (told.file, told.line) == (str(script), 1)


def test_an_exception_that_was_never_raised_has_no_place(tmp_path: Path) -> None:
    told = message_of(RuntimeFailureReason.INTERNAL, TimeoutError(), tmp_path)

    assert (told.file, told.line, told.message) == ("", 0, "TimeoutError")


def test_the_message_fits_the_kubelets_limit_whatever_the_exception_says(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    long = "é\n\x00" * 5000

    failure.write(message_of(RuntimeFailureReason.WORKSPACE_FAILED, ValueError(long), tmp_path, task=long), path)

    assert path.stat().st_size <= KUBELET_LIMIT
    assert msgspec.json.decode(path.read_bytes(), type=TerminationMessage).message.endswith("…")


def test_an_unwritable_message_does_not_hide_the_failure(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "termination-log"

    failure.write(TerminationMessage(RuntimeFailureReason.INTERNAL, "no"), path)

    assert not path.exists()


def test_every_reason_has_an_exit_status_of_its_own() -> None:
    assert set(EXIT_CODES) == set(RuntimeFailureReason)
    assert len(set(EXIT_CODES.values())) == len(RuntimeFailureReason)
    assert ExitCode.DONE not in EXIT_CODES.values()
