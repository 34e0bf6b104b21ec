"""Why the process failed: the reasons, the exit status of each, and the termination message.

The kubelet passes on the container's termination message file, at most 4,096 bytes
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/). The agent reports it to the
hub, so the text of an exception is truncated: a dump of tensors in it would send the site's data to the hub.
"""

import os
import traceback
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from federation.runtime_contract import ExitCode, TerminationMessage

MESSAGE_LIMIT: Final = 500
"""Maximum characters of an exception's text."""
_FIELD_LIMIT: Final = 200


class RuntimeFailureReason(StrEnum):
    """Why a collaborator, or the export of its plan, failed."""

    SETTINGS_REFUSED = "SettingsRefused"
    """The agent's environment variables are incomplete or invalid, for example because the image is of another version
    than the agent; or `spec.client.args` is not empty."""
    PLAN_REFUSED = "PlanRefused"
    """The plan is invalid or unsupported; the message names every setting."""
    WORKSPACE_FAILED = "WorkspaceFailed"
    """The user's code raised an exception, or its output is not an update of the model."""
    AGGREGATOR_REFUSED = "AggregatorRefused"
    """The aggregator rejects this collaborator; a retry would be rejected too."""
    AGGREGATOR_LOST = "AggregatorLost"
    """The aggregator was unreachable for longer than the deadline; a retry may reach it."""
    INTERNAL = "Internal"
    """A defect of the runtime."""


EXIT_CODES: Final[Mapping[str, ExitCode]] = {reason: ExitCode[reason.name] for reason in RuntimeFailureReason}
"""The exit status of each reason."""


def message_of(
    reason: RuntimeFailureReason,
    error: BaseException,
    workspace: Path,
    *,
    task: str = "",
    round_number: int | None = None,
) -> TerminationMessage:
    """Return the termination message for an exception, with the innermost line of the user's code that led to it.

    A plan or a collaborator that was rejected has no such line.
    """
    has_place = reason in {RuntimeFailureReason.WORKSPACE_FAILED, RuntimeFailureReason.INTERNAL}
    file, line = _place(error, workspace) if has_place else ("", 0)
    return TerminationMessage(
        reason=reason,
        message=_truncated(str(error) or type(error).__name__, MESSAGE_LIMIT),
        exception=type(error).__name__,
        file=_truncated(file, _FIELD_LIMIT),
        line=line,
        task=_truncated(task, _FIELD_LIMIT),
        round=round_number,
    )


def write(message: TerminationMessage, path: Path) -> None:
    """Write the termination message; if the file can't be written, only the log has it."""
    try:
        path.write_bytes(msgspec.json.encode(message))
    except OSError:
        return


def _place(error: BaseException, workspace: Path) -> tuple[str, int]:
    """Return file and line of the innermost frame in the workspace, else of the innermost frame."""
    if isinstance(error, SyntaxError) and error.filename:
        return _relative(error.filename, workspace), error.lineno or 0
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(workspace)]
    if not frames:
        return "", 0
    frame = (own or frames)[-1]
    return _relative(frame.filename, workspace), frame.lineno or 0


def _relative(file: str, workspace: Path) -> str:
    return os.path.relpath(file, workspace) if Path(file).is_relative_to(workspace) else file


def _truncated(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
