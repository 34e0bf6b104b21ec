"""kubectl as a child process, the only access to clusters.

All authentication methods of the user's kubectl work, with the user's flags. Every call has a timeout; watches and
logs are read in chunks, so that the caller can redraw between them.
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
"""The timeout of a call that neither streams nor waits."""
_CHUNK_BYTES: Final = 1 << 16
_TERMINATING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that terminate a program."""


def qualified_kind(kind: Kind[Any]) -> str:
    """Return the kind with version and group, so that kubectl can't pick another kind of that name."""
    return f"{kind.plural}.{kind.version}.{kind.group}" if kind.group else kind.plural


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the flags that select one cluster."""

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
        """Run kubectl and return its standard output.

        Args:
            arguments: The arguments after the flags.
            subject: The object of the call, for error messages.
            standard_input: The standard input of kubectl.
            seconds: The timeout.
            defer_signals: Handle terminating signals only after the call has completed.

        Raises:
            CommandError: kubectl is missing, fails or times out.
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
                f"{subject}: kubectl timed out after {seconds:g} s: check that the cluster is reachable"
            ) from error
        except OSError as error:
            raise self._not_runnable(error) from error
        if done.returncode != 0:
            raise error_from_stderr(done.stderr.decode(errors="replace"), subject)
        return done.stdout

    def read(self, kind: Kind[T], name: str, namespace: str = "") -> T:
        """Read one object; the namespace defaults to that of kubectl's context.

        Raises:
            CommandError: The object can't be read; `ObjectNotFound` if it does not exist.
        """
        answer = self.call(
            "get", qualified_kind(kind), name, *namespace_flags(namespace), "-o", "json", subject=f"{kind.kind} {name}"
        )
        return decode_object(answer, kind.struct, f"{kind.kind} {name}")

    def find(self, kind: Kind[T], name: str, namespace: str = "") -> T | None:
        """Read one object, or return None if it does not exist.

        Raises:
            CommandError: The object can't be read.
        """
        try:
            return self.read(kind, name, namespace)
        except ObjectNotFound:
            return None

    def find_if_allowed(
        self, kind: Kind[T], name: str, namespace: str, *, report: Callable[[str], None], without: str
    ) -> T | None:
        """Read one object, or return None if it does not exist or, with a report, if reading it is forbidden.

        Args:
            kind: The kind.
            name: The name.
            namespace: The namespace.
            report: Called with the missing permission.
            without: The effect of the missing object on the command.

        Raises:
            CommandError: The object can't be read for another reason.
        """
        try:
            return self.find(kind, name, namespace)
        except AccessForbidden:
            resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            report(f"no permission to read the {kind.kind} {name} (get on {resource} in {namespace}): {without}")
            return None

    def select(
        self, kind: Kind[T], *, namespace: str = "", everywhere: bool = False, labels: Mapping[str, str] | None = None
    ) -> tuple[T, ...]:
        """List the objects of a kind.

        Raises:
            CommandError: The objects can't be listed.
        """
        where = ("--all-namespaces",) if everywhere else namespace_flags(namespace)
        selector = ("-l", label_selector(labels)) if labels else ()
        subject = f"the {kind.plural}"
        answer = self.call("get", qualified_kind(kind), *where, *selector, "-o", "json", subject=subject)
        return decode_list(answer, kind.struct, kind.plural)

    @contextmanager
    def stream(self, *arguments: str, subject: str) -> Iterator["KubectlStream"]:
        """Stream the output of a running kubectl, which is terminated on exit from the context.

        Raises:
            CommandError: kubectl is missing.
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
            f"{self.program} can't be run ({error.strerror}): install kubectl, or set KUBECTL to its path"
        )


class KubectlStream:
    """The output of a running kubectl."""

    def __init__(self, child: "subprocess.Popen[bytes]", subject: str) -> None:
        """Read from the child; the end of its standard error is kept for the error message."""
        assert child.stdout is not None  # noqa: S101 -- both are pipes
        assert child.stderr is not None  # noqa: S101
        self._child, self._subject = child, subject
        self._out, self._err = child.stdout, child.stderr
        self._said = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)

    def read_chunk(self, seconds: float | None) -> bytes | None:
        """Return the next chunk: empty at the end, None after a timeout."""
        while True:
            ready = [key.fileobj for key, _ in self._selector.select(seconds)]
            if not ready:
                return None
            if self._err in ready:
                chunk = os.read(self._err.fileno(), _CHUNK_BYTES)
                self._said = (self._said + chunk)[-_CHUNK_BYTES:]
                if not chunk:
                    self._selector.unregister(self._err)
            if self._out in ready:
                chunk = os.read(self._out.fileno(), _CHUNK_BYTES)
                if not chunk:
                    self._selector.unregister(self._out)
                return chunk

    def wait_for_error(self) -> CommandError | None:
        """Wait for the exit after the end of the output; return the error, or None if kubectl succeeded.

        Raises:
            CommandError: kubectl does not exit.
        """
        try:
            _, rest = self._child.communicate(timeout=CALL_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{self._subject}: kubectl does not exit") from error
        if self._child.returncode == 0:
            return None
        return error_from_stderr((self._said + rest).decode(errors="replace"), self._subject)

    def close(self) -> None:
        """Terminate the child if it is still running."""
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
    """Block terminating signals in the body, also in the processes that it starts.

    The mask covers this thread and its children; a signal delivered to another thread is deferred.
    """
    with _signals_deferred():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINATING_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer terminating signals until the body is done; only the main thread handles signals."""
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
    """Format labels as a label selector."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def namespace_flags(namespace: str) -> tuple[str, ...]:
    """Return the flags that select a namespace; none for `""`."""
    return ("--namespace", namespace) if namespace else ()
