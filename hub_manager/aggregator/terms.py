"""What is settled before a run starts, by the run's resource and its user's plan."""

from dataclasses import dataclass
from typing import Final

from hub_manager.aggregator.events import JoinPolicy, Task, TaskKind

MAX_WEIGHT: Final = 1 << 40
"""Where the run's resource sets no bound: sums over any cohort stay exact in a float64."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is settled before a run starts. Times are in seconds."""

    cohort: tuple[str, ...]
    """The clusters, sorted by name."""
    rounds: int
    quorum: int
    """Updates without which no round closes; at least 1."""
    tasks: tuple[Task, ...]
    """Of the user's plan, in order."""
    round_seconds: float
    gather_seconds: float
    extension_seconds: float
    """How long a round without a quorum may go on after its time."""
    metrics_seconds: float = 30.0
    """How long a round waits for metrics once every update counts."""
    max_weight: int = MAX_WEIGHT
    """Samples that one update may weigh by."""
    join_policy: JoinPolicy = JoinPolicy.FROZEN
    evaluate: bool = True
    """Whether the final model is validated by the cohort."""

    def __post_init__(self) -> None:
        """Hold the terms to what the rest relies on.

        Raises:
            ValueError: They contradict themselves; the message names the field.
        """
        if self.cohort != tuple(sorted(set(self.cohort))):
            raise ValueError("cohort: names are sorted and unique")
        if self.rounds < 1 or self.quorum < 1 or not 1 <= self.max_weight <= MAX_WEIGHT:
            raise ValueError(f"rounds, quorum, max_weight: at least 1, and the last at most {MAX_WEIGHT}")
        if len({task.name for task in self.tasks}) != len(self.tasks):
            raise ValueError("tasks: names are unique")

    @property
    def evaluation(self) -> tuple[Task, ...]:
        """The tasks that make sense of a model without training it."""
        return tuple(task for task in self.tasks if task.kind is TaskKind.VALIDATE_AGGREGATED)
