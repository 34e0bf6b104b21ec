"""Parameters, models and updates for runs, and a world that performs a run's effects in memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from federation.api.aggregator_run import Cohort
from federation.exported_plan import TaskKind
from federation.model import DType, ModelManifest, TensorSpec, digest_of, manifest_of
from hub_manager.aggregator import domain
from hub_manager.aggregator.domain import Announcement, Metric, RunParameters, StoredModel, Task
from hub_manager.aggregator.rounds import effects, inputs
from hub_manager.aggregator.rounds.effects import Effect
from hub_manager.aggregator.rounds.inputs import Event
from hub_manager.aggregator.rounds.machine import StepResult, advance
from hub_manager.aggregator.rounds.records import DurableRecord
from hub_manager.aggregator.rounds.state import Phase, State, new_run
from hub_manager.aggregator.rounds.transitions import replay
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason

TASKS = (
    Task("aggregated_model_validation", TaskKind.VALIDATE_AGGREGATED),
    Task("train", TaskKind.TRAIN),
    Task("locally_tuned_model_validation", TaskKind.VALIDATE_LOCAL),
)
MANIFEST = manifest_of([TensorSpec("weight", DType.FLOAT32, (4, 3)), TensorSpec("bias", DType.FLOAT32, (3,))])
OTHER_MODEL = manifest_of([TensorSpec("weight", DType.FLOAT32, (3, 4)), TensorSpec("bias", DType.FLOAT32, (3,))])
INITIAL_MODEL = StoredModel(0, digest_of(b"first"), MANIFEST)
COHORT = ("c1", "c10", "c2")
Outcome: TypeAlias = Effect | UpdateRefusal
"""Outcome of a step."""


def parameters(
    cohort: tuple[str, ...] = COHORT,
    *,
    rounds: int = 2,
    quorum: int = 2,
    tasks: tuple[Task, ...] = TASKS[1:2],
    join_policy: domain.JoinPolicy = domain.JoinPolicy.FROZEN,
    evaluate: bool = False,
) -> RunParameters:
    """Build parameters whose times all differ."""
    return RunParameters(
        cohort=cohort,
        rounds=rounds,
        quorum=quorum,
        tasks=tasks,
        round_seconds=100,
        gather_seconds=50,
        extension_seconds=20,
        metrics_seconds=10,
        max_weight=1000,
        join_policy=join_policy,
        evaluate=evaluate,
    )


def cohort_of(generation: int, members: Iterable[str], revoked: Iterable[str] = ()) -> Cohort:
    """Build a cohort as the hub sends it."""
    return Cohort(generation=generation, members=tuple(sorted(members)), revoked=tuple(sorted(revoked)))


def announcement(peer: str, round_number: int, *, weight: int = 10, manifest: ModelManifest = MANIFEST) -> Announcement:
    """Build the honest update of a peer for a round."""
    digest = digest_of(f"{peer} {round_number}".encode())
    return Announcement(round_number, "train" if round_number else "", manifest.nbytes, digest, weight)


@dataclass
class World:
    """A run with its journal and its store, which survive a crash."""

    parameters: RunParameters
    stored: StoredModel | None = INITIAL_MODEL
    now: float = 0.0
    state: State = field(init=False)
    journal: list[DurableRecord] = field(default_factory=list)
    pending: list[Effect] = field(default_factory=list)
    """Requested folds that are not performed yet."""
    effects: list[Effect] = field(default_factory=list)
    """Every effect since the start, in order."""
    reported: int = 0
    """Number of cohorts that the hub has sent."""

    def __post_init__(self) -> None:
        self.state = new_run(self.parameters)
        self.see(inputs.Resumed(self.stored))

    def see(self, event: Event) -> list[Outcome]:
        """Advance the run by one step; return its refusals and its effects."""
        step: StepResult = advance(self.state, event, self.now)
        self.journal += step.durable_records
        self.state = step.state
        self.pending += [
            found for found in step.effects if isinstance(found, effects.StoreInitialModel | effects.FoldUpdates)
        ]
        self.effects += step.effects
        return [*step.refusals.values(), *step.effects]

    def crash(self) -> None:
        """Crash the process and start another one."""
        self.pending = []
        self.state = replay(self.parameters, self.journal)
        self.see(inputs.Resumed(self.stored))

    def submit(self, *members: str, revoked: Iterable[str] = ()) -> list[Outcome]:
        """Send a cohort with the next generation."""
        self.reported += 1
        return self.see(inputs.CohortReceived(cohort_of(self.reported, members, revoked)))

    def pass_time(self, seconds: float) -> list[Outcome]:
        """Advance the time and send a timer event."""
        self.now += seconds
        return self.see(inputs.Timer())

    def join(self, *peers: str, manifest: ModelManifest = MANIFEST) -> list[Outcome]:
        """Connect the peers, one after the other."""
        return [found for peer in peers for found in self.see(inputs.Joined(peer, manifest))]

    def send(self, peer: str, *, weight: int = 10) -> list[Outcome]:
        """Send the peer's honest update of the current round, as far as it is accepted."""
        announced = announcement(peer, self.state.round, weight=weight)
        begun = self.see(inputs.UpdateBegun(peer, announced))
        if refusals(begun):
            return begun
        return begun + self.see(inputs.UpdateComplete(peer, announced))

    def measure(self, peer: str, task: str, value: float = 0.5) -> list[Outcome]:
        """Report one metric of a task."""
        return self.see(domain.MetricsReported(peer, self.state.round, task, 5, (Metric("accuracy", value),)))

    def fold(self) -> list[Outcome]:
        """Perform the requested folds; the digest of a model shows its updates and their order."""
        requested_from = self.pending.pop(0)
        assert isinstance(requested_from, effects.StoreInitialModel | effects.FoldUpdates)
        if isinstance(requested_from, effects.StoreInitialModel):
            self.stored = StoredModel(0, requested_from.part.digest, requested_from.manifest)
        else:
            words = " ".join(
                [requested_from.digest, *(f"{part.peer} {part.digest} {part.weight}" for part in requested_from.parts)]
            )
            self.stored = StoredModel(requested_from.round, digest_of(words.encode()), MANIFEST)
        return self.see(inputs.ModelStored(self.stored.round, self.stored.digest))


def opened(**changes: Any) -> World:
    """Create a run with an open first round and all peers connected; `changes` apply to its parameters."""
    world = World(replace(parameters(), **changes))
    world.join(*world.parameters.cohort)
    assert world.state.phase is Phase.COLLECTING
    return world


def kinds(found: list[Outcome]) -> list[type[Outcome]]:
    """Return the types of the outcomes, in order."""
    return [type(effect) for effect in found]


def refusals(found: list[Outcome]) -> list[UpdateRefusalReason]:
    """Return the reasons of the refusals among the outcomes."""
    return [outcome.reason for outcome in found if isinstance(outcome, UpdateRefusal)]
