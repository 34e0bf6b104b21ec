"""`kubectl fl logs`: print the aggregator's log, the collaborator's report on the hub, or its log on the spoke."""

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from federation.api.collaborator import COLLABORATOR_LABEL
from federation.api.federated_learning import FederatedLearning
from federation.api.identity import ADDON_NAME
from federation.api.ocm.addon import DEFAULT_INSTALL_NAMESPACE
from federation.api.run_names import ATTEMPT_LABEL, RUN_UID_LABEL, work_name
from federation.kube.kinds import MANAGED_CLUSTER_ADD_ON, MANIFEST_WORK
from kubectl_fl.console import Console
from kubectl_fl.errors import CommandError
from kubectl_fl.kubectl import Kubectl
from kubectl_fl.resources.pods import (
    RUN_POD,
    CollaboratorReport,
    RunPod,
    agent_namespace,
    collaborator_report,
    failed_container,
    log_container,
    newest_pod,
    start_failure,
)
from kubectl_fl.terminal_text import one_line

MAX_LINE_LENGTH: Final = 1 << 16
"""Maximum characters of a line; longer lines are split."""


@dataclass(frozen=True, slots=True)
class LogPrinter:
    """Prints logs from the hub and from spokes."""

    hub: Kubectl
    console: Console
    follow: bool = False
    tail: int = -1
    """Number of lines from the end; -1 for all."""

    def print_aggregator_log(self, run: FederatedLearning) -> None:
        """Print the log of the attempt's newest pod, or of its init container if that runs or failed.

        Raises:
            CommandError: There is no pod or log.
        """
        status = run.status
        labels = {RUN_UID_LABEL: run.metadata.uid, ATTEMPT_LABEL: str(status.attempt)}
        pod = newest_pod(self.hub.select(RUN_POD, namespace=run.metadata.namespace, labels=labels))
        if pod is None:
            detail = (
                f"{status.failure.reason}: {status.failure.message}" if status.failure is not None else status.message
            )
            raise CommandError(
                f"{run.metadata.name} has no aggregator pod: not created yet, or deleted. {one_line(detail)}"
            )
        self._print_pod_log(self.hub, pod, log_container(pod))

    def print_collaborator_log(self, run: FederatedLearning, cluster: str, spoke: Kubectl | None) -> None:
        """Print the collaborator's log from the spoke, or its report on the hub.

        Raises:
            CommandError: There is no pod, or the cluster is not part of the run.
        """
        if spoke is None:
            self.console.print_lines(self._hub_lines(run, cluster))
            return
        without = f"using the default install namespace {DEFAULT_INSTALL_NAMESPACE}"
        addon = self.hub.find_if_allowed(
            MANAGED_CLUSTER_ADD_ON, ADDON_NAME, cluster, report=self.console.report, without=without
        )
        name = work_name(run, run.status.attempt)
        namespace = agent_namespace(addon)
        pod = newest_pod(spoke.select(RUN_POD, namespace=namespace, labels={COLLABORATOR_LABEL: name}))
        if pod is None:
            where = f"{cluster} has no pod of {run.metadata.name} in {namespace}: not created yet, or deleted"
            raise CommandError(
                f"{where}; check the spoke's context, or omit the --spoke flags to print what the hub has"
            )
        self._print_pod_log(spoke, pod, "")

    def _hub_lines(self, run: FederatedLearning, cluster: str) -> list[str]:
        name = work_name(run, run.status.attempt)
        without = "printing what the run's status has"
        work = self.hub.find_if_allowed(MANIFEST_WORK, name, cluster, report=self.console.report, without=without)
        report = collaborator_report(work, run) if work is not None else None
        if report is not None:
            return [*collaborator_lines(report), "", FULL_LOG_HINT]
        recorded = next((c for c in run.status.clusters if c.name == cluster), None)
        if recorded is None:
            raise CommandError(
                f"{cluster} is not part of this run; find out why: kubectl fl doctor {run.metadata.name}"
            )
        reason = f" ({recorded.reason})" if recorded.reason else ""
        return [f"{recorded.state}{reason}", *filter(None, [recorded.last_error]), "", FULL_LOG_HINT]

    def _print_pod_log(self, cluster: Kubectl, pod: RunPod, container: str) -> None:
        failed = failed_container(pod)
        why = start_failure(pod)
        if why and failed is None:
            raise CommandError(f"the pod {pod.metadata.name} has not started and has no log. {one_line(why)}")
        self.console.report(f"pod {pod.metadata.name}" + (f", container {container}" if container else ""))
        command = ["logs", pod.metadata.name, "--namespace", pod.metadata.namespace, f"--tail={self.tail}"]
        command += ["-c", container] if container else []
        command += ["--follow"] if self.follow else []
        with cluster.stream(*command, subject=f"the log of {pod.metadata.name}") as stream:
            decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
            rest = ""
            while True:
                piece = stream.read_chunk(None)
                lines, rest = split_lines(rest + decoder.decode(piece or b""))
                self.console.print_lines(lines)
                if not piece:
                    break
            self.console.print_lines([rest] if rest else [])
            failure = stream.wait_for_error()
        if failure is not None:
            raise failure


FULL_LOG_HINT: Final = (
    "OCM has no API for spoke logs. For the full log add --spoke-context, or use kubectl on the spoke."
)


def split_lines(text: str) -> tuple[list[str], str]:
    """Split a text into complete lines and the rest; overlong lines are cut."""
    *lines, rest = text.split("\n")
    while len(rest) > MAX_LINE_LENGTH:
        lines.append(rest[:MAX_LINE_LENGTH])
        rest = rest[MAX_LINE_LENGTH:]
    return lines, rest


def collaborator_lines(report: CollaboratorReport) -> Iterator[str]:
    """Yield the lines that show a collaborator's report."""
    yield f"{report.state}" + (f" ({report.reason})" if report.reason else "")
    if report.message:
        yield report.message
    facts: Mapping[str, str] = {
        "exit": f"{report.exit_reason or 'ended'}, code {report.exit_code}" if report.exit_code else "",
        "at": f"{report.file}:{report.line}" if report.file else "",
        "round": str(report.round) if report.round else "",
        "failed": f"{report.restarts} times" if report.restarts else "",
    }
    yield from (f"  {name:<8}{one_line(value)}" for name, value in facts.items() if value)
    if report.log:
        yield "last log lines:"
        yield from (f"  {line}" for line in report.log.split("\n"))
