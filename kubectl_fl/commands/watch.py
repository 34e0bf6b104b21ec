"""`kubectl fl watch`: follow a run until it ends, reopening watches that close."""

import codecs
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from federation.api.federated_learning import FederatedLearning
from federation.kube.kinds import FEDERATED_LEARNING
from kubectl_fl.console import Console
from kubectl_fl.errors import AccessForbidden, CommandError, ObjectNotFound
from kubectl_fl.kubectl import Kubectl, KubectlStream, namespace_flags, qualified_kind
from kubectl_fl.resources.kubectl_output import RunEvent, split_events
from kubectl_fl.views.run_changes import describe_changes, run_result
from kubectl_fl.views.run_status import render_run

TRIES: Final = 8
"""Maximum consecutive watches without an event; about two minutes with the pauses."""


class RunWatch:
    """A watch on one run."""

    def __init__(
        self,
        hub: Kubectl,
        console: Console,
        clock: Callable[[], datetime],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Store the dependencies."""
        self._hub, self._console, self._clock, self._pause = hub, console, clock, pause
        self._run: FederatedLearning | None = None

    def follow(self, name: str, namespace: str) -> int:
        """Show the run until it ends; return 0 if it completed, 1 if it failed.

        Raises:
            CommandError: The run can't be watched, or was deleted.
        """
        where = namespace_flags(namespace)
        command = (
            "get",
            qualified_kind(FEDERATED_LEARNING),
            name,
            *where,
            "-o",
            "json",
            "--watch",
            "--output-watch-events",
        )
        broken: CommandError | None = None
        tries = 0
        while tries < TRIES:
            before = self._run
            with self._hub.stream(*command, subject=f"FederatedLearning {name}") as stream:
                code, broken = self._follow(stream)
            if code is not None:
                return code
            if isinstance(broken, ObjectNotFound | AccessForbidden):
                raise (
                    CommandError(f"{name} was deleted")
                    if self._run is not None and isinstance(broken, ObjectNotFound)
                    else broken
                )
            tries = tries + 1 if self._run is before else 1
            self._pause(min(30, 2 ** (tries - 1)))
        raise broken or CommandError(
            f"the watch of {name} keeps closing without an event: check that the hub is reachable"
        )

    def _follow(self, stream: KubectlStream) -> tuple[int | None, CommandError | None]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        text = ""
        while piece := self._piece(stream):
            found, text = split_events(text + decoder.decode(piece))
            for event in found:
                code = self._handle(event)
                if code is not None:
                    return code, None
        return None, stream.wait_for_error()

    def _piece(self, stream: KubectlStream) -> bytes:
        """Return the next chunk, redrawing the page each second to update the ages."""
        while (piece := stream.read_chunk(1)) is None:
            if self._run is not None and self._console.can_redraw:
                self._console.draw_page(render_run(self._run, self._clock()))
        return piece

    def _handle(self, event: RunEvent) -> int | None:
        run = event.object
        if event.type == "DELETED":
            raise CommandError(f"{run.metadata.name} was deleted")
        now = self._clock()
        if self._console.can_redraw:
            self._console.draw_page(render_run(run, now))
        else:
            time_of_day = now.strftime("%H:%M:%S")
            self._console.print_lines(f"{time_of_day}  {line}" for line in describe_changes(self._run, run))
        self._run = run
        end = run_result(run)
        if end is None:
            return None
        if not end.well:
            self._console.report(f"{run.metadata.name} has failed. {end.cause}")
        return 0 if end.well else 1
