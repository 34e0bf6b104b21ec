"""kubectl as a child process: the one way by which this command line reaches a cluster.

Whatever way of logging in the user's kubectl knows, works here too, with the flags that the user gives. Every call has
a deadline; what is watched or followed is read in pieces, so that whoever reads can do something else meanwhile.
"""

import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final

from federation.kube.resource import Kind, T
from kubectl_fl.errors import AccessForbidden, CommandError, ObjectNotFound
from kubectl_fl.resources.kubectl_output import decode_list, decode_object, error_from_stderr

CALL_TIMEOUT_SECONDS: Final = 60
"""How long a call may take that neither follows nor waits."""
_CHUNK_BYTES: Final = 1 << 16
_TERMINATING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a program."""


def qualified_kind(kind: Kind[Any]) -> str:
    """The kind as kubectl is told of it: with version and group, so that no other kind of the name is meant."""
    return f"{kind.plural}.{kind.version}.{kind.group}" if kind.group else kind.plural


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the flags that lead to one cluster."""

    program: str = "kubectl"
    flags: tuple[str, ...] = ()

    def call(
        self,
        *arguments: str,
        subject: str,
        standard_input: bytes | None = None,
        seconds: float = CALL_TIMEOUT_SECONDS,
        defer_signals: bool = False,
    ) -> bytes:
        """What the call prints.

        Args:
            arguments: After the flags.
            what: What is read or done, for a person.
            standard_input: What it is given to read.
            seconds: The deadline.
            shielded: Whether it is to be done whole: Ctrl-C and the like count once it is.

        Raises:
            CommandError: kubectl is not there, says no, or takes longer.
        """
        try:
            with signals_blocked() if defer_signals else nullcontext():
                done = subprocess.run(
                    self._command(arguments),
                    input=standard_input,
                    stdin=subprocess.DEVNULL if standard_input is None else None,
                    capture_output=True,
                    timeout=seconds,
                    check=False,
                )
        except subprocess.TimeoutExpired as error:
            raise CommandError(
                f"{subject}: kubectl has not answered for {seconds:g} s: is the cluster reached?"
            ) from error
        except OSError as error:
            raise self._not_runnable(error) from error
        if done.returncode != 0:
            raise error_from_stderr(done.stderr.decode(errors="replace"), subject)
        return done.stdout

    def read(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        """One object; in the namespace of kubectl's own configuration where none is named.

        Raises:
            CommandError: It can't be read; `NotFound` where there is none.
        """
        answer = self.call(
            "get", qualified_kind(kind), name, *namespace_flags(namespace), "-o", "json", subject=f"{kind.kind} {name}"
        )
        return decode_object(answer, kind.struct, f"{kind.kind} {name}")

    def find(self, kind: Kind[T], name: str, namespace: str = "") -> T | None:
        """One object, or None where there is none.

        Raises:
            CommandError: It can't be read.
        """
        try:
            return self.read(kind, name, namespace)
        except ObjectNotFound:
            return None

    def find_if_allowed(
        self, kind: Kind[T], name: str, namespace: str, *, report: Callable[[str], None], without: str
    ) -> T | None:
        """One object, or None where there is none or it may not be read, which is told.

        Args:
            kind: Its kind.
            name: Its name.
            namespace: Its namespace.
            report: Takes a sentence for the person, who may lack the right.
            without: What becomes of the command without the object.

        Raises:
            CommandError: It can't be read for another reason.
        """
        try:
            return self.find(kind, name, namespace)
        except AccessForbidden:
            resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            report(f"you may not read the {kind.kind} {name} (get on {resource} in {namespace}): {without}")
            return None

    def select(
        self, kind: Kind[T], *, namespace: str = "", everywhere: bool = False, labels: Mapping[str, str] | None = None
    ) -> tuple[T, ...]:
        """The objects of a kind.

        Raises:
            CommandError: They can't be read.
        """
        where = ("--all-namespaces",) if everywhere else namespace_flags(namespace)
        selector = ("-l", label_selector(labels)) if labels else ()
        subject = f"the {kind.plural}"
        answer = self.call("get", qualified_kind(kind), *where, *selector, "-o", "json", subject=subject)
        return decode_list(answer, kind.struct, kind.plural)

    @contextmanager
    def stream(self, *arguments: str, subject: str) -> Iterator["KubectlStream"]:
        """The call's output while it goes on; the child is ended with the context.

        Raises:
            CommandError: kubectl is not there.
        """
        stream = None
        try:
            with _signals_deferred():
                stream = KubectlStream(self._start(arguments), subject)
            yield stream
        finally:
            if stream is not None:
                stream.close()

    def _start(self, arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                self._command(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise self._not_runnable(error) from error

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [self.program, *self.flags, *arguments]

    def _not_runnable(self, error: OSError) -> CommandError:
        return CommandError(
            f"{self.program} can't be run ({error.strerror}): install kubectl, or set KUBECTL to where it is"
        )


class KubectlStream:
    """A call of kubectl that goes on."""

    def __init__(self, child: "subprocess.Popen[bytes]", subject: str) -> None:
        """Read from the child; its standard error is kept for the end."""
        assert child.stdout is not None  # noqa: S101 -- both are pipes
        assert child.stderr is not None  # noqa: S101
        self._child, self._subject = child, subject
        self._out, self._err = child.stdout, child.stderr
        self._said = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)

    def read_chunk(self, seconds: float | None) -> bytes | None:
        """The next piece: empty at the end, None where none has come in that time."""
        while True:
            ready = [key.fileobj for key, _ in self._selector.select(seconds)]
            if not ready:
                return None
            if self._err in ready:
                said = os.read(self._err.fileno(), _CHUNK_BYTES)
                self._said = (self._said + said)[-_CHUNK_BYTES:]
                if not said:
                    self._selector.unregister(self._err)
            if self._out in ready:
                chunk = os.read(self._out.fileno(), _CHUNK_BYTES)
                if not chunk:
                    self._selector.unregister(self._out)
                return chunk

    def wait_for_error(self) -> CommandError | None:
        """Why the call ended, once its output has; None where it ended well.

        Raises:
            CommandError: It closed its output and did not end.
        """
        try:
            _, rest = self._child.communicate(timeout=CALL_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{self._subject}: kubectl does not end") from error
        if self._child.returncode == 0:
            return None
        return error_from_stderr((self._said + rest).decode(errors="replace"), self._subject)

    def close(self) -> None:
        """Ends the child where it still runs."""
        self._selector.close()
        if self._child.poll() is None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=2)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait(timeout=CALL_TIMEOUT_SECONDS)
        self._out.close()
        self._err.close()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Signals that end a program wait until the body is done; what it starts inherits that they do.

    The mask is this thread's and its children's; a signal that another thread takes meanwhile is remembered.
    """
    with _signals_deferred():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINATING_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Signals that end a program count once the body is done, but for what it starts; only the main thread has any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _frame: taken.append(number)) for number in _TERMINATING_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late in taken:
            signal.raise_signal(late)


def label_selector(labels: Mapping[str, str]) -> str:
    """The labels as a selector."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def namespace_flags(namespace: str) -> tuple[str, ...]:
    return ("--namespace", namespace) if namespace else ()
