"""The composition root: reads the command line, makes kubectl, the clock and the console, and runs one command."""

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
from federation.kube.run_kinds import FEDERATED_LEARNING
from kubectl_fl.arguments import PROGRAM, kubectl_flags, parser, spoke_flags
from kubectl_fl.commands.doctor import observe
from kubectl_fl.commands.logs import Logs
from kubectl_fl.commands.watch import Watch
from kubectl_fl.console import Console
from kubectl_fl.doctor.cluster_checks import cluster_findings
from kubectl_fl.doctor.findings import Verdict
from kubectl_fl.doctor.run_checks import clusters_to_check, run_findings
from kubectl_fl.errors import Failure, Misused
from kubectl_fl.kubectl import Kubectl, kind_name
from kubectl_fl.terminal_text import byte_size, one_line
from kubectl_fl.views.doctor_report import page
from kubectl_fl.views.run_status import run_page, runs_page

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
"""What a shell says of a program that Ctrl-C ended."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    console = Console(sys.stdout, sys.stderr)
    try:
        arguments = parser().parse_args(words)
        return Commands(arguments, console).run()
    except Misused as error:
        console.tell(f"{PROGRAM}: {error}")
        return MISUSED
    except Failure as error:
        console.tell(f"{PROGRAM}: {error}")
        return FAILED
    except BrokenPipeError:
        # Whoever read the output has seen enough (`| head`); Python's own flush at the end must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        console.tell(f"{PROGRAM}: {error.strerror}: {error.filename}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """A pod that was made for a download is deleted when the terminal is closed, too."""
    raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands, with what was typed."""

    arguments: argparse.Namespace
    console: Console

    def run(self) -> int:
        """Runs the command that was typed.

        Raises:
            Misused: What was typed does not go together.
            Failure: It can't be carried out.
        """
        match self.arguments.command:
            case "status":
                return self._status()
            case "watch":
                return Watch(self._hub, self.console, _now).until_end(self.arguments.name, self.arguments.namespace)
            case "logs":
                return self._logs()
            case "model":
                return self._model()
            case _:
                return self._doctor()

    def _status(self) -> int:
        arguments = self.arguments
        if arguments.name and arguments.all_namespaces:
            raise Misused("NAME and --all-namespaces: leave one out")
        if arguments.output:
            names = [arguments.name] if arguments.name else []
            everywhere = ["--all-namespaces"] if arguments.all_namespaces else []
            command = ("get", kind_name(FEDERATED_LEARNING), *names, *self._where, *everywhere, "-o", arguments.output)
            self.console.handed_through(self._hub.call(*command, what="the FederatedLearning").decode(errors="replace"))
        elif arguments.name:
            self.console.lines(run_page(self._read(), _now()))
        else:
            everywhere = arguments.all_namespaces
            runs = self._hub.select(FEDERATED_LEARNING, namespace=arguments.namespace, everywhere=everywhere)
            self.console.lines(runs_page(runs, _now(), everywhere=everywhere))
        return 0

    def _logs(self) -> int:
        arguments = self.arguments
        spoke = spoke_flags(arguments)
        if spoke is not None and not arguments.cluster:
            raise Misused("--spoke-kubeconfig and --spoke-context lead to the site that --cluster names: add it")
        if arguments.follow and arguments.cluster and spoke is None:
            raise Misused(
                "--follow: the hub has no log of a site to follow; add --spoke-context, if you reach the spoke"
            )
        logs = Logs(self._hub, self.console, arguments.follow, arguments.tail)
        if arguments.cluster:
            site = None if spoke is None else Kubectl(_program(), spoke)
            logs.of_site(self._read(), arguments.cluster, site)
        else:
            logs.of_aggregator(self._read())
        return 0

    def _model(self) -> int:
        if importlib.util.find_spec("blake3") is None:
            raise Failure("the model's digest is BLAKE3: pip install 'federated-learning-addon[cli]'")
        from kubectl_fl.commands.download import Download  # noqa: PLC0415
        from kubectl_fl.commands.verify import check  # noqa: PLC0415 - needs blake3, which no other command does
        from kubectl_fl.resources.reader_pod import described  # noqa: PLC0415

        arguments, run = self.arguments, self._read()
        if arguments.check:
            model = described(run)
            check(Path(arguments.check), model.size, model.digest)
            self.console.lines([f"{arguments.check} is the model of {arguments.name} after round {model.round}"])
            return 0
        target = Path(arguments.output or f"{arguments.name}.safetensors")
        place = Download(self._hub, run, self.console.tell).to(target, arguments.image, secrets.token_hex(3)[:5])
        size = byte_size(target.stat().st_size)
        self.console.lines([f"{target}: the model after round {place.round}, {size}, {one_line(place.digest)}"])
        return 0

    def _doctor(self) -> int:
        run, now = self._read(), _now()
        seen = observe(self._hub, run)
        names = (self.arguments.cluster,) if self.arguments.cluster else clusters_to_check(seen)
        whole = run_findings(seen)
        clusters = {name: cluster_findings(seen, name, now) for name in names}
        self.console.lines(page(f"{run.metadata.namespace}/{run.metadata.name}", whole, clusters))
        every = [*whole, *(finding for findings in clusters.values() for finding in findings)]
        return FAILED if any(finding.verdict is Verdict.PROBLEM for finding in every) else 0

    def _read(self) -> FederatedLearning:
        return self._hub.read(FEDERATED_LEARNING, self.arguments.name, self.arguments.namespace)

    @property
    def _hub(self) -> Kubectl:
        return Kubectl(_program(), kubectl_flags(self.arguments))

    @property
    def _where(self) -> tuple[str, ...]:
        namespace = self.arguments.namespace
        return ("--namespace", namespace) if namespace else ()


def _program() -> str:
    return os.environ.get("KUBECTL") or "kubectl"


def _now() -> datetime:
    return datetime.now(UTC)
