"""What the collaborator asks of its connection to the aggregator, and nothing of how that is made.

A model travels as one run of bytes, laid out as `federation.model` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from federation.model import ModelManifest


@dataclass(frozen=True, slots=True)
class RoundWork:
    """These tasks, in this order, from the global model of this round. Handed out until the round's update is in."""

    round: int
    """From 1 up."""
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InitialModelWanted:
    """The aggregator has no model to begin with, and asks this member of the cohort for its own."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over, well or not; there is nothing left to do here."""

    reason: str = ""


Work = RoundWork | InitialModelWanted | Ended


class ExchangeRefused(Exception):
    """The aggregator won't have this collaborator or what it sent; another try would be refused as well."""


class AggregatorLost(Exception):
    """The aggregator was not reached within the time that the connection is given."""


class RoundClosed(Exception):
    """What was sent doesn't count: the round has closed without it, or it was refused by name; the next order does."""


class Exchange(Protocol):
    """A connection that reconnects by itself. All calls block.

    Every one raises `ExchangeRefused` or `AggregatorLost`; those that name a round raise `RoundClosed` as well.
    """

    def join(self, manifest: ModelManifest) -> None:
        """Takes part in the run with such a model."""

    def next_work(self) -> Work:
        """Waits until there is something to do."""

    def download(self, round_number: int) -> bytes | bytearray | memoryview:
        """The global model that this round starts from, checked against its digest."""

    def upload(self, round_number: int, task: str, samples: int, model: bytes | bytearray) -> None:
        """Sends the round's update, which this task has made from so many samples: its weight."""

    def upload_initial_model(self, model: bytes | bytearray) -> None:
        """Sends the model that the run begins with."""

    def report(self, round_number: int, task: str, samples: int, metrics: Mapping[str, float]) -> None:
        """Sends a task's metrics, each the mean over so many samples; a repeated report replaces the first."""
