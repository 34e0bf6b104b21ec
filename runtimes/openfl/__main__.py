"""`python -m runtimes.openfl`: takes part in a run; `… export FOLDER` writes the plan for the hub.

The entry point of the image. `config` documents the environment, `runtime_contract.ExitCode` the exit status. It is the
first process of its container, for which the kernel ignores SIGTERM unless it is handled.
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
    """Whoever starts the container reads the termination message, and not what argparse writes to stderr."""

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError for arguments that can't be taken."""
        raise ConfigError(
            f"arguments: {message[: failure.MESSAGE_LIMIT]}: leave spec.client.args empty, this image's entry point "
            "takes none at a site"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the arguments say; returns the process's exit status."""
    configure_logging()
    signal.signal(signal.SIGTERM, _end)
    try:
        told = _understood(arguments)
        if told.command == "export":
            failed = _export(workspace_config(os.environ), told.folder)
        else:
            failed = _run(collaborator_config(os.environ))
    except ConfigError as error:
        failed = TerminationMessage(reason=RuntimeFailureReason.SETTINGS_REFUSED, message=str(error))
        failure.write(failed, termination_log(os.environ))
        structlog.stdlib.get_logger(__name__).error("settings_refused", error=str(error))
    return ExitCode.DONE if failed is None else EXIT_CODES[failed.reason]


def _understood(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments. There is no help to ask for: it ends well, and a site would call that taking part."""
    parser = _Arguments(prog="collaborator", add_help=False)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", add_help=False)  # take part in the run: the default
    exporting = commands.add_parser("export", add_help=False)  # write what the hub needs of the plan
    exporting.add_argument("folder", type=Path)  # where to; it has to exist
    return parser.parse_args(arguments)


def _run(config: CollaboratorConfig) -> TerminationMessage | None:
    configure_logging(config.workspace.log_level)
    # Both take seconds to import, and what refuses the settings needs neither. `federation.rpc`, which says what TLS is
    # spoken, comes before OpenFL, which imports gRPC.
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
