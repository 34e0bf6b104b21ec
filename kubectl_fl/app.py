"""The composition root: parse the arguments, create kubectl, clock and console, and run one command."""

import argparse
import importlib.util
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from federation.api.federated_learning import FederatedLearning
from federation.kube.kinds import FEDERATED_LEARNING
from kubectl_fl.arguments import PROGRAM, kubectl_flags, parser, spoke_flags
from kubectl_fl.commands.doctor import observe
from kubectl_fl.commands.logs import LogPrinter
from kubectl_fl.commands.watch import RunWatch
from kubectl_fl.console import Console
from kubectl_fl.doctor.cluster_checks import cluster_findings
from kubectl_fl.doctor.findings import Verdict
from kubectl_fl.doctor.run_checks import clusters_to_check, run_findings
from kubectl_fl.errors import CommandError, UsageError
from kubectl_fl.kubectl import Kubectl, namespace_flags, qualified_kind
from kubectl_fl.terminal_text import format_bytes, one_line
from kubectl_fl.views.doctor_report import render_findings
from kubectl_fl.views.run_status import render_run, render_run_table

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
"""The exit code of a shell for a program ended by Ctrl-C."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    console = Console(sys.stdout, sys.stderr)
    try:
        arguments = parser().parse_args(words)
        return Commands(arguments, console).run()
    except UsageError as error:
        console.report(f"{PROGRAM}: {error}")
        return MISUSED
    except CommandError as error:
        console.report(f"{PROGRAM}: {error}")
        return FAILED
    except BrokenPipeError:
        # The reader closed the pipe (`| head`); Python's flush at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        console.report(f"{PROGRAM}: {error.strerror}: {error.filename}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, so that the reader pod is deleted then too."""
    raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands, with the parsed arguments."""

    arguments: argparse.Namespace
    console: Console

    def run(self) -> int:
        """Run the selected command.

        Raises:
            UsageError: The arguments contradict each other.
            CommandError: The command failed.
        """
        match self.arguments.command:
            case "status":
                return self._status()
            case "watch":
                return RunWatch(self._hub, self.console, _now).follow(self.arguments.name, self.arguments.namespace)
            case "logs":
                return self._logs()
            case "model":
                return self._model()
            case _:
                return self._doctor()

    def _status(self) -> int:
        arguments = self.arguments
        if arguments.name and arguments.all_namespaces:
            raise UsageError("NAME and --all-namespaces are mutually exclusive: omit one")
        if arguments.output:
            names = [arguments.name] if arguments.name else []
            everywhere = ["--all-namespaces"] if arguments.all_namespaces else []
            command = (
                "get",
                qualified_kind(FEDERATED_LEARNING),
                *names,
                *namespace_flags(arguments.namespace),
                *everywhere,
                "-o",
                arguments.output,
            )
            self.console.print_raw(self._hub.call(*command, subject="the FederatedLearning").decode(errors="replace"))
        elif arguments.name:
            self.console.print_lines(render_run(self._read(), _now()))
        else:
            everywhere = arguments.all_namespaces
            runs = self._hub.select(FEDERATED_LEARNING, namespace=arguments.namespace, everywhere=everywhere)
            self.console.print_lines(render_run_table(runs, _now(), everywhere=everywhere))
        return 0

    def _logs(self) -> int:
        arguments = self.arguments
        spoke = spoke_flags(arguments)
        if spoke is not None and not arguments.cluster:
            raise UsageError("--spoke-kubeconfig and --spoke-context require --cluster")
        if arguments.follow and arguments.cluster and spoke is None:
            raise UsageError("--follow with --cluster requires --spoke-context: the hub has no log to stream")
        logs = LogPrinter(self._hub, self.console, arguments.follow, arguments.tail)
        if arguments.cluster:
            site = None if spoke is None else Kubectl(_program(), spoke)
            logs.print_collaborator_log(self._read(), arguments.cluster, site)
        else:
            logs.print_aggregator_log(self._read())
        return 0

    def _model(self) -> int:
        if importlib.util.find_spec("blake3") is None:
            raise CommandError("verifying the model needs BLAKE3: pip install 'federated-learning-addon[cli]'")
        from kubectl_fl.commands.download import ModelDownload  # noqa: PLC0415
        from kubectl_fl.commands.verify import verify_model  # noqa: PLC0415 - needs blake3, which no other command does
        from kubectl_fl.resources.reader_pod import recorded_model  # noqa: PLC0415

        arguments, run = self.arguments, self._read()
        if arguments.check:
            model = recorded_model(run)
            verify_model(Path(arguments.check), model.size, model.digest)
            self.console.print_lines([f"{arguments.check} is the model of {arguments.name}, round {model.round}"])
            return 0
        target = Path(arguments.output or f"{arguments.name}.safetensors")
        place = ModelDownload(self._hub, run, self.console.report).download_to(
            target, arguments.image, secrets.token_hex(3)[:5]
        )
        size = format_bytes(target.stat().st_size)
        self.console.print_lines([f"{target}: the model of round {place.round}, {size}, {one_line(place.digest)}"])
        return 0

    def _doctor(self) -> int:
        run, now = self._read(), _now()
        seen = observe(self._hub, run)
        names = (self.arguments.cluster,) if self.arguments.cluster else clusters_to_check(seen)
        whole = run_findings(seen)
        clusters = {name: cluster_findings(seen, name, now) for name in names}
        self.console.print_lines(render_findings(f"{run.metadata.namespace}/{run.metadata.name}", whole, clusters))
        every = [*whole, *(finding for findings in clusters.values() for finding in findings)]
        return FAILED if any(finding.verdict is Verdict.PROBLEM for finding in every) else 0

    def _read(self) -> FederatedLearning:
        return self._hub.read(FEDERATED_LEARNING, self.arguments.name, self.arguments.namespace)

    @property
    def _hub(self) -> Kubectl:
        return Kubectl(_program(), kubectl_flags(self.arguments))


def _program() -> str:
    return os.environ.get("KUBECTL") or "kubectl"


def _now() -> datetime:
    return datetime.now(UTC)
