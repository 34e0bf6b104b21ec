"""`kubectl fl watch`: follows a run until it ends. A watch of kubectl's that closes is opened anew."""

import codecs
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from federation.api.federated_learning import FederatedLearning
from federation.kube.kinds import FEDERATED_LEARNING
from kubectl_fl.console import Console
from kubectl_fl.errors import AccessForbidden, CommandError, ObjectNotFound
from kubectl_fl.kubectl import Kubectl, KubectlStream, qualified_kind
from kubectl_fl.resources.kubectl_output import RunEvent, split_events
from kubectl_fl.views.run_changes import describe_changes, run_result
from kubectl_fl.views.run_status import render_run

TRIES: Final = 8
"""How often in a row a watch may end without an event; with the pauses between, some two minutes."""


class RunWatch:
    """One run, watched."""

    def __init__(
        self,
        hub: Kubectl,
        console: Console,
        clock: Callable[[], datetime],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Watch with these."""
        self._hub, self._console, self._clock, self._pause = hub, console, clock, pause
        self._run: FederatedLearning | None = None

    def follow(self, name: str, namespace: str) -> int:
        """Shows the run until it ends; 0 where it has a model, 1 where it failed.

        Raises:
            CommandError: The run can't be watched, or was deleted.
        """
        where = ("--namespace", namespace) if namespace else ()
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
        raise broken or CommandError(f"the watch of {name} ends again and again without an event: is the hub reached?")

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
        """The next piece that comes, empty at the end; the page is drawn anew each second meanwhile: times go on."""
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
