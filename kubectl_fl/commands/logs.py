"""`kubectl fl logs`: the aggregator's log; of a site what the hub has, or its log where the spoke is reached."""

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from federation.api.addon import DEFAULT_INSTALL_NAMESPACE
from federation.api.collaborator import COLLABORATOR_LABEL
from federation.api.federated_learning import FederatedLearning
from federation.api.identity import ADDON_NAME
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
"""Characters of a line that are kept together."""


@dataclass(frozen=True, slots=True)
class LogPrinter:
    """Where logs are read, and printed to."""

    hub: Kubectl
    console: Console
    follow: bool = False
    tail: int = -1
    """How many of the last lines; -1: all."""

    def print_aggregator_log(self, run: FederatedLearning) -> None:
        """Prints the log of this attempt's newest pod: the init container's, where that is what runs or has failed.

        Raises:
            CommandError: There is none.
        """
        status = run.status
        labels = {RUN_UID_LABEL: run.metadata.uid, ATTEMPT_LABEL: str(status.attempt)}
        pod = newest_pod(self.hub.select(RUN_POD, namespace=run.metadata.namespace, labels=labels))
        if pod is None:
            said = (
                f"{status.failure.reason}: {status.failure.message}" if status.failure is not None else status.message
            )
            raise CommandError(f"{run.metadata.name} has no aggregator's pod, not yet or no longer. {one_line(said)}")
        self._print_pod_log(self.hub, pod, log_container(pod))

    def print_collaborator_log(self, run: FederatedLearning, cluster: str, spoke: Kubectl | None) -> None:
        """Prints the site's log, or what the hub has of it.

        Raises:
            CommandError: Neither can be had.
        """
        if spoke is None:
            self.console.print_lines(self._hub_lines(run, cluster))
            return
        without = f"its agent is looked for in {DEFAULT_INSTALL_NAMESPACE}"
        addon = self.hub.find_if_allowed(
            MANAGED_CLUSTER_ADD_ON, ADDON_NAME, cluster, report=self.console.report, without=without
        )
        name = work_name(run, run.status.attempt)
        namespace = agent_namespace(addon)
        pod = newest_pod(spoke.select(RUN_POD, namespace=namespace, labels={COLLABORATOR_LABEL: name}))
        if pod is None:
            where = f"{cluster} has no pod of {run.metadata.name} in {namespace}, not yet or no longer"
            raise CommandError(
                f"{where}: is this the spoke's context? What the hub has of it: leave the spoke's flags out"
            )
        self._print_pod_log(spoke, pod, "")

    def _hub_lines(self, run: FederatedLearning, cluster: str) -> list[str]:
        name = work_name(run, run.status.attempt)
        without = "there is no more than the run's own status says of the site"
        work = self.hub.find_if_allowed(MANIFEST_WORK, name, cluster, report=self.console.report, without=without)
        said = collaborator_report(work, run) if work is not None else None
        if said is not None:
            return [*collaborator_lines(said), "", FULL_LOG_HINT]
        recorded = next((c for c in run.status.clusters if c.name == cluster), None)
        if recorded is None:
            raise CommandError(f"{cluster} is no cluster of this run: kubectl fl doctor {run.metadata.name} says why")
        reason = f" ({recorded.reason})" if recorded.reason else ""
        return [f"{recorded.state}{reason}", *filter(None, [recorded.last_error]), "", FULL_LOG_HINT]

    def _print_pod_log(self, cluster: Kubectl, pod: RunPod, container: str) -> None:
        failed = failed_container(pod)
        why = start_failure(pod)
        if why and failed is None:
            raise CommandError(f"the pod {pod.metadata.name} has not started, so it has no log. {one_line(why)}")
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


FULL_LOG_HINT: Final = "OCM hands no logs of a site on to the hub. The whole log: --spoke-context, or kubectl there."


def split_lines(text: str) -> tuple[list[str], str]:
    """The lines that are whole, and what is left; a line without an end is cut into pieces."""
    *lines, rest = text.split("\n")
    while len(rest) > MAX_LINE_LENGTH:
        lines.append(rest[:MAX_LINE_LENGTH])
        rest = rest[MAX_LINE_LENGTH:]
    return lines, rest


def collaborator_lines(said: CollaboratorReport) -> Iterator[str]:
    """What a site has said, for a reader."""
    yield f"{said.state}" + (f" ({said.reason})" if said.reason else "")
    if said.message:
        yield said.message
    facts: Mapping[str, str] = {
        "exit": f"{said.exit_reason or 'ended'}, code {said.exit_code}" if said.exit_code else "",
        "at": f"{said.file}:{said.line}" if said.file else "",
        "round": str(said.round) if said.round else "",
        "failed": f"{said.restarts} times" if said.restarts else "",
    }
    yield from (f"  {name:<8}{one_line(value)}" for name, value in facts.items() if value)
    if said.log:
        yield "last lines of its log:"
        yield from (f"  {line}" for line in said.log.split("\n"))
