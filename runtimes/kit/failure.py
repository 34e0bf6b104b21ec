"""Why the process ended, as one small JSON document for the site's agent, and as its exit status.

The kubelet hands on what is in the container's termination message file, at most 4,096 bytes
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/). The agent reports it to the
hub, so an exception's own text is cut: a stack of tensors in it would be data leaving the site.
"""

import os
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from federation.runtime_contract import ExitCode

MESSAGE_LIMIT: Final = 500
"""Characters of an exception's text that are kept."""
_FIELD_LIMIT: Final = 200


class Reason(StrEnum):
    """Why a collaborator, or the export of its plan, failed."""

    SETTINGS_REFUSED = "SettingsRefused"
    """The environment that the agent gave is incomplete, as where the image is of another version than the agent; or
    `spec.client.args` is not empty."""
    PLAN_REFUSED = "PlanRefused"
    """The plan asks for something that can't be run; each such setting is named."""
    WORKSPACE_FAILED = "WorkspaceFailed"
    """The user's code raised, or put out something that is no update of the model."""
    AGGREGATOR_REFUSED = "AggregatorRefused"
    """The aggregator won't have this collaborator; trying again would not help."""
    AGGREGATOR_LOST = "AggregatorLost"
    """The aggregator was out of reach for longer than the deadline; a new try may reach it."""
    INTERNAL = "Internal"
    """A fault of ours."""


EXIT_CODES: Final = {reason: ExitCode[reason.name] for reason in Reason}


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the termination message says."""

    reason: Reason
    message: str
    exception: str = ""
    """The class of the exception."""
    file: str = ""
    """Where it was raised: relative to the workspace where it is the user's code."""
    line: int = 0
    task: str = ""
    round: int | None = None


def failure_of(
    reason: Reason, error: BaseException, workspace: Path, *, task: str = "", round_number: int | None = None
) -> Failure:
    """The failure that an exception is, with the innermost line of the user's own code that led to it.

    Where the plan or the aggregator said no, no line of code did, and none is named.
    """
    of_code = reason in {Reason.WORKSPACE_FAILED, Reason.INTERNAL}
    file, line = _place(error, workspace) if of_code else ("", 0)
    return Failure(
        reason=reason,
        message=_cut(str(error) or type(error).__name__, MESSAGE_LIMIT),
        exception=type(error).__name__,
        file=_cut(file, _FIELD_LIMIT),
        line=line,
        task=_cut(task, _FIELD_LIMIT),
        round=round_number,
    )


def write(failure: Failure, path: Path) -> None:
    """Writes the termination message; where there is no place for it, the log has the same."""
    try:
        path.write_bytes(msgspec.json.encode(failure))
    except OSError:
        return


def _place(error: BaseException, workspace: Path) -> tuple[str, int]:
    """The innermost frame inside of the workspace, else the innermost of any file."""
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


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
