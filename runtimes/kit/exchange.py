"""Define the collaborator's interface to the aggregator, independent of the transport.

A model is one block of bytes in the layout of `federation.model`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from federation.model import ModelManifest


@dataclass(frozen=True, slots=True)
class RoundWork:
    """The tasks of a round, in order. The exchange returns them again until the aggregator has the round's update."""

    round: int
    """From 1 up; the final evaluation has the number after the last round."""
    tasks: tuple[str, ...]
    final_evaluation: bool = False
    """Whether these tasks evaluate the final model, after the last round."""


@dataclass(frozen=True, slots=True)
class InitialModelWork:
    """The aggregator has no initial model and requests this collaborator's."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run has ended, successfully or not."""

    reason: str = ""


Work = RoundWork | InitialModelWork | Ended


class ExchangeRefused(Exception):
    """The aggregator rejects this collaborator or its data; a retry would be rejected too."""


class AggregatorLost(Exception):
    """The aggregator was unreachable for longer than the connection's time budget."""


class RoundClosed(Exception):
    """The round closed without this data, or the aggregator rejected the data; continue with the next work."""


class Exchange(Protocol):
    """Connection to the aggregator, which reconnects by itself. All methods block.

    Every method raises `ExchangeRefused` and `AggregatorLost`; those with a round number also raise `RoundClosed`.
    """

    def join(self, manifest: ModelManifest) -> None:
        """Join the run with a model of these tensors."""

    def next_work(self) -> Work:
        """Wait for work and return it."""

    def download(self, round_number: int) -> bytes | bytearray | memoryview:
        """Return the global model at the start of the round, checked against its digest."""

    def upload(self, round_number: int, task: str, samples: int, model: bytes | bytearray) -> None:
        """Send the update that this task trained; its weight is the number of samples."""

    def upload_initial_model(self, model: bytes | bytearray) -> None:
        """Send the run's initial model."""

    def report(self, round_number: int, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Send a task's metrics, each the mean over that many samples; a second report replaces the first."""
