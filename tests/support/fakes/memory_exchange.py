"""An exchange without a network: one collaborator's side of a run, played from a list of orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from federation.model import ModelManifest
from runtimes.kit.exchange import Ended, Work


@dataclass(frozen=True, slots=True)
class Report:
    """A task's metrics as they arrived."""

    round: int
    task: str
    samples: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Update:
    """An update as it arrived."""

    round: int
    task: str
    samples: int
    data: bytes


@dataclass(slots=True)
class MemoryExchange:
    """Hands out `orders` one by one, and keeps whatever is sent.

    An order may be an exception, which is then raised. The global model is `initial_model` until a model comes back;
    then, as in a federation of one, it is the last update.
    """

    orders: Sequence[Work | Exception]
    initial_model: bytes = b""
    fail_upload_with: Exception | None = None
    fail_report_with: Exception | None = None
    manifest: ModelManifest | None = None
    reports: list[Report] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    given: list[bytes] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    """The received calls in order: `report TASK`, `upload TASK`."""
    _next: int = 0

    def join(self, manifest: ModelManifest) -> None:
        """Takes the manifest as it is."""
        self.manifest = manifest

    def next_work(self) -> Work:
        """Return the next order, or the end after the last one."""
        if self._next == len(self.orders):
            return Ended()
        order = self.orders[self._next]
        self._next += 1
        if isinstance(order, Exception):
            raise order
        return order

    def download(self, round_number: int) -> bytes:
        """The global model of whatever round."""
        del round_number
        return self.updates[-1].data if self.updates else b"".join(self.given[-1:]) or self.initial_model

    def upload(self, round_number: int, task: str, samples: int, model: bytes | bytearray) -> None:
        """Keeps the update."""
        self.sent.append(f"upload {task}")
        if self.fail_upload_with is not None:
            raise self.fail_upload_with
        self.updates.append(Update(round_number, task, samples, bytes(model)))

    def upload_initial_model(self, model: bytes | bytearray) -> None:
        """Keeps the model, which the run then begins with."""
        self.given.append(bytes(model))

    def report(self, round_number: int, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Keeps the metrics."""
        self.sent.append(f"report {task}")
        if self.fail_report_with is not None:
            raise self.fail_report_with
        self.reports.append(Report(round_number, task, samples, dict(metrics)))
