"""Download of a run's model: a reader pod, a resumable stream, and a verified file.

Received bytes are kept beside the target under a name with the model's digest, so that a broken stream or a later call
resumes. The pod is always deleted.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from federation.api.federated_learning import FederatedLearning
from federation.api.run_names import ATTEMPT_LABEL, RUN_UID_LABEL, server_name
from kubectl_fl.commands.verify import ModelMismatch, manifest_file_digest, verify_model
from kubectl_fl.errors import AccessForbidden, CommandError
from kubectl_fl.kubectl import Kubectl
from kubectl_fl.resources.pods import AGGREGATOR_JOB, RUN_POD, AggregatorJob, newest_pod, start_failure
from kubectl_fl.resources.reader_pod import (
    READ_SCRIPT,
    READER_CONTAINER,
    SIZE_SCRIPT,
    ModelLocation,
    ReaderSettings,
    model_location,
    reader_pod,
    reader_pod_name,
    reader_settings,
)
from kubectl_fl.terminal_text import format_bytes, one_line

START_TIMEOUT_SECONDS: Final = 180
"""The timeout for the start of the pod."""
READ_TIMEOUT_SECONDS: Final = 60
"""The timeout for the next bytes of the stream."""
MAX_STALLS: Final = 6
"""Maximum consecutive streams without a byte."""
MAX_MANIFEST_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class ModelDownload:
    """One download; `report` receives progress."""

    hub: Kubectl
    run: FederatedLearning
    report: Callable[[str], None]
    pause: Callable[[float], None] = time.sleep

    def download_to(self, target: Path, image: str, name_suffix: str) -> ModelLocation:
        """Download the model to the target file.

        Args:
            target: The file to write or replace.
            image: The image of the reader pod, `""` for the aggregator's.
            name_suffix: The suffix that makes the pod's name unique.

        Raises:
            CommandError: The download failed, or the file does not match the run's status.
            OSError: The target can't be written.
        """
        place = model_location(self.run)
        host = self._reader_settings(image)
        partial = target.with_name(f".{target.name}.{place.digest.rpartition(':')[2][:16]}.partial")
        with _locked(partial) as file:
            with self._reader(place, host, name_suffix) as pod:
                whole = manifest_file_digest(
                    self._output(pod, READ_SCRIPT, place.manifest, "0", subject="the manifest"), place.digest
                )
                length = int(self._output(pod, SIZE_SCRIPT, place.path, subject="the model's size"))
                self._fetch(pod, place, length, file)
            os.fsync(file)
            try:
                verify_model(partial, place.size, place.digest, whole)
            except ModelMismatch:
                partial.unlink()
                raise
            partial.replace(target)
        return place

    def _reader_settings(self, image: str) -> ReaderSettings:
        run = self.run
        namespace = run.metadata.namespace
        labels = {RUN_UID_LABEL: run.metadata.uid, ATTEMPT_LABEL: str(run.status.attempt)}
        job = self._job(image)
        if job is not None and job.metadata.labels.get(RUN_UID_LABEL) != run.metadata.uid:
            job = None
        return reader_settings(
            job, newest_pod(self.hub.select(RUN_POD, namespace=namespace, labels=labels)), image, run
        )

    def _job(self, image: str) -> AggregatorJob | None:
        """Return the aggregator's Job; it is optional if an image is given."""
        name, namespace = server_name(self.run), self.run.metadata.namespace
        if image:
            without = "the pod gets no tolerations, node selector or pull secrets from it"
            return self.hub.find_if_allowed(AGGREGATOR_JOB, name, namespace, report=self.report, without=without)
        try:
            return self.hub.find(AGGREGATOR_JOB, name, namespace)
        except AccessForbidden as forbidden:
            raise AccessForbidden(f"{forbidden}, or set the image of the reader pod with --image") from forbidden

    @contextmanager
    def _reader(self, place: ModelLocation, host: ReaderSettings, name_suffix: str) -> Iterator[str]:
        """Run the reader pod for the duration of the context."""
        run = self.run
        name = reader_pod_name(run, name_suffix)
        body = msgspec.json.encode(reader_pod(run, place, host, name))
        self.report(f"starting pod {name} in {run.metadata.namespace}, mounting claim {place.claim}")
        try:
            subject = f"the pod {name}"
            self.hub.call(
                "create", "-f", "-", *self._namespace, subject=subject, standard_input=body, defer_signals=True
            )
            self._until_ready(name)
            yield name
        finally:
            self._delete(name)

    def _until_ready(self, name: str) -> None:
        subject = f"the pod {name}"
        condition = ("wait", f"pod/{name}", "--for=condition=Ready", f"--timeout={START_TIMEOUT_SECONDS}s")
        try:
            self.hub.call(*condition, *self._namespace, subject=subject, seconds=START_TIMEOUT_SECONDS + 30)
        except CommandError as failure:
            pod = self.hub.find(RUN_POD, name, self.run.metadata.namespace)
            why = start_failure(pod) if pod is not None else ""
            remedy = "Check that a ReadWriteOnce claim is free or its node has capacity, or set --image"
            raise CommandError(f"{subject} does not start: {one_line(why) or failure}. {remedy}") from failure

    def _delete(self, name: str) -> None:
        """Delete the pod; if that fails it is garbage-collected with the run."""
        arguments = ("delete", "pod", name, "--ignore-not-found", "--wait=false")
        try:
            self.hub.call(*arguments, *self._namespace, subject=f"the pod {name}", defer_signals=True)
        except CommandError as failure:
            remedy = f"kubectl delete pod {name} --namespace {self.run.metadata.namespace}"
            self.report(f"the pod {name} was not deleted; delete it: {remedy} ({failure})")

    def _fetch(self, pod: str, place: ModelLocation, length: int, file: int) -> None:
        """Append the missing bytes of the file, resuming broken streams."""
        begun = os.lseek(file, 0, os.SEEK_END)
        if begun > length:
            os.ftruncate(file, 0)
            begun = 0
        if begun:
            self.report(f"resuming after {format_bytes(begun)} of an earlier download")
        self.report(f"{format_bytes(length)} to read: the model of round {place.round}")
        had, idle = begun, 0
        while had < length:
            broken = self._stream(pod, place, length, file)
            now = os.lseek(file, 0, os.SEEK_END)
            idle = 0 if now > had else idle + 1
            had = now
            if had < length:
                if idle == MAX_STALLS:
                    raise CommandError(
                        f"the model can't be read beyond {format_bytes(had)} of {format_bytes(length)}: {broken}"
                    )
                self.report(f"the stream broke at {format_bytes(had)} of {format_bytes(length)}: {broken}; retrying")
                self.pause(min(30, 2**idle))

    def _stream(self, pod: str, place: ModelLocation, length: int, file: int) -> str:
        """Append the stream to the file; return the reason if it ended early, or `""`."""
        had = os.lseek(file, 0, os.SEEK_END)
        command = self._in_pod(pod, READ_SCRIPT, place.path, str(had))
        with self.hub.stream(*command, subject="the model") as stream:
            while had < length:
                piece = stream.read_chunk(READ_TIMEOUT_SECONDS)
                if piece is None:
                    return f"no data for {READ_TIMEOUT_SECONDS} s"
                if not piece:
                    failure = stream.wait_for_error()
                    return str(failure) if failure is not None else "the stream ended early"
                _write(file, piece[: length - had])
                had += len(piece)
        return ""

    def _output(self, pod: str, script: str, *arguments: str, subject: str) -> bytes:
        found = self.hub.call(*self._in_pod(pod, script, *arguments), subject=subject)
        if len(found) > MAX_MANIFEST_BYTES:
            raise CommandError(f"{subject}: more than {format_bytes(MAX_MANIFEST_BYTES)}")
        return found

    def _in_pod(self, pod: str, script: str, *arguments: str) -> tuple[str, ...]:
        return ("exec", pod, *self._namespace, "-c", READER_CONTAINER, "--", "python3", "-I", "-c", script, *arguments)

    @property
    def _namespace(self) -> tuple[str, str]:
        return ("--namespace", self.run.metadata.namespace)


def _write(file: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(file, view) :]


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open and lock the file; remove it if it stays empty."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                f"{path} is being written by another download: wait for it, or set another --output"
            ) from error
        yield file
    finally:
        empty = os.fstat(file).st_size == 0
        os.close(file)
        if empty:
            with suppress(FileNotFoundError):
                path.unlink()
