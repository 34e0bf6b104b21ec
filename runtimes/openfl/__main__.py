"""Take part in a run with `python -m runtimes.openfl`, or write the plan for the hub with `… export FOLDER`.

This is the entry point of the image. `kit.config` documents the environment, `runtime_contract.ExitCode` the exit
status. It is the first process of its container, for which the kernel ignores SIGTERM unless it is handled.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import structlog

from federation.environment import ConfigError
from federation.logging import configure_logging
from federation.runtime_contract import ExitCode, TerminationMessage
from runtimes.kit import failure
from runtimes.kit.config import (
    CollaboratorConfig,
    WorkspaceConfig,
    collaborator_config,
    termination_log,
    workspace_config,
)
from runtimes.kit.failure import EXIT_CODES, RuntimeFailureReason


class _Arguments(argparse.ArgumentParser):
    """Parser that raises, so that the error goes into the termination message instead of to stderr."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError for invalid arguments."""
        raise ConfigError(
            f"arguments: {message[: failure.MESSAGE_LIMIT]}: leave spec.client.args empty: this image's entry point "
            "takes no arguments at a site"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status of the process."""
    configure_logging()
    signal.signal(signal.SIGTERM, _end)
    try:
        parsed = _parse(arguments)
        if parsed.command == "export":
            failed = _export(workspace_config(os.environ), parsed.folder)
        else:
            failed = _run(collaborator_config(os.environ))
    except ConfigError as error:
        failed = TerminationMessage(reason=RuntimeFailureReason.SETTINGS_REFUSED, message=str(error))
        failure.write(failed, termination_log(os.environ))
        structlog.stdlib.get_logger(__name__).error("settings_refused", error=str(error))
    return ExitCode.DONE if failed is None else EXIT_CODES[failed.reason]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments, without `--help`: it exits with 0, which the agent would read as a completed run."""
    parser = _Arguments(prog="collaborator", add_help=False)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", add_help=False)  # the default: take part in the run
    exporting = commands.add_parser("export", add_help=False)  # write the plan for the hub
    exporting.add_argument("folder", type=Path)  # an existing folder
    return parser.parse_args(arguments)


def _run(config: CollaboratorConfig) -> TerminationMessage | None:
    configure_logging(config.workspace.log_level)
    # Imported late: both take seconds, and checking the settings needs neither. `federation.rpc`, which sets the TLS
    # version, must precede OpenFL, which imports gRPC.
    from runtimes.kit.network_exchange import connect  # noqa: PLC0415
    from runtimes.openfl.process import take_part  # noqa: PLC0415

    os.chdir(config.workspace.folder)
    return take_part(config, partial(connect, framework="openfl"))


def _export(config: WorkspaceConfig, folder: Path) -> TerminationMessage | None:
    configure_logging(config.log_level)
    from runtimes.openfl.process import export  # noqa: PLC0415

    destination = folder.absolute()
    os.chdir(config.folder)
    return export(config, destination)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(ExitCode.TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
