"""The round engine of one run: the pure round machine with its journal, spool and checkpoints.

`step` writes the records of a step to the journal and returns its effects, which the driver performs. `perform` folds
and stores models in the caller's thread, and returns the next event. The run's folder contains `journal`, `updates/`
and `checkpoints/`, from which `open_engine` continues after any crash.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hub_manager.aggregator.domain import INITIAL_ROUND, RunParameters
from hub_manager.aggregator.numerics.algorithms import Aggregation
from hub_manager.aggregator.numerics.fold import Diverged, Folding, Slot, fold
from hub_manager.aggregator.rounds.effects import Effect, FoldUpdates, StoreInitialModel
from hub_manager.aggregator.rounds.inputs import Event, FoldDiverged, ModelStored, Resumed
from hub_manager.aggregator.rounds.machine import StepResult, advance
from hub_manager.aggregator.rounds.snapshot import SNAPSHOT_ROUNDS, is_due, snapshot_of
from hub_manager.aggregator.rounds.state import State, new_run
from hub_manager.aggregator.rounds.transitions import apply
from hub_manager.aggregator.storage.checkpoint import CheckpointStore
from hub_manager.aggregator.storage.journal import Journal, open_journal
from hub_manager.aggregator.storage.spool import Spool


@dataclass(slots=True)
class RoundEngine:
    """Round engine of one run. One thread at a time may call `step`, and one, maybe another, `perform`."""

    aggregation: Aggregation
    journal: Journal
    spool: Spool
    checkpoints: CheckpointStore
    state: State
    snapshot_rounds: int = SNAPSHOT_ROUNDS

    def step(self, event: Event, now: float) -> StepResult:
        """Advance the run by one event; the step's records are durable on return.

        Args:
            event: The event that the driver observed.
            now: Seconds since the epoch.

        Raises:
            ImpossibleRecord: The engine contradicts itself. The process must end; the step was not written.
            OSError: The volume failed. The process must end; a new one continues from the disk.
        """
        result = advance(self.state, event, now)
        self.journal.append(result.durable_records)
        self.state = result.state
        if is_due(result.durable_records, self.snapshot_rounds):
            self.journal.compact(snapshot_of(self.state))
        return result

    def perform(self, effect: StoreInitialModel | FoldUpdates) -> ModelStored | FoldDiverged:
        """Fold the spooled updates, or store the initial model, and return the event with the outcome.

        This reads and writes whole models, so it must not run in the event loop.

        Raises:
            OSError: The volume failed, or a spooled update is missing; see `step`.
        """
        if isinstance(effect, StoreInitialModel):
            return self._store_initial_model(effect)
        manifest = self.state.manifest
        if manifest is None:
            raise ValueError("a fold requires the model's layout")
        with ExitStack() as stack:
            enter = stack.enter_context
            updates = [enter(self.spool.source(part.peer, effect.round, part.digest)) for part in effect.parts]
            base = enter(self.checkpoints.source(effect.round - 1))
            sources = [enter(self.checkpoints.slot(*slot)) for slot in self._slots(effect.round - 1)]
            slots = [Slot(source) for source in sources] or [Slot(None) for _ in self.aggregation.slots]
            weights = [part.weight for part in effect.parts]
            folding = Folding(manifest, self.aggregation, updates, weights, base, slots)
            names = self.aggregation.slots
            stored = self.checkpoints.store(
                effect.round, manifest, names, lambda model, slot_writes: fold(folding, model, slot_writes)
            )
        if isinstance(stored, Diverged):
            return FoldDiverged(effect.round, f"tensor {stored.tensor!r} overflows in round {effect.round}")
        return ModelStored(stored.round, stored.digest)

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def _store_initial_model(self, effect: StoreInitialModel) -> ModelStored:
        with self.spool.source(effect.part.peer, INITIAL_ROUND, effect.part.digest) as source:
            stored = self.checkpoints.store_initial_model(effect.manifest, source)
        return ModelStored(stored.round, stored.digest)

    def _slots(self, round_number: int) -> list[tuple[int, str]]:
        """Return round and name of the stored optimizer slots after a round; the initial model has none."""
        return [(round_number, name) for name in self.aggregation.slots] if round_number > INITIAL_ROUND else []


def open_engine(
    folder: Path,
    run: str,
    parameters: RunParameters,
    aggregation: Aggregation,
    now: float,
    *,
    snapshot_rounds: int = SNAPSHOT_ROUNDS,
) -> tuple[RoundEngine, tuple[Effect, ...]]:
    """Open the engine of a run at its last durable state, and return it with its initial effects.

    The workspace's initial model, if any, must be stored with `CheckpointStore.store_initial_model` before the first
    start.

    Args:
        folder: The run's folder on its volume.
        run: The run's unique ID.
        parameters: Of the run; the same at every start.
        aggregation: The same at every start.
        now: Seconds since the epoch.
        snapshot_rounds: Number of rounds after which the journal is compacted.

    Raises:
        JournalDamaged: The journal is damaged or belongs to another run.
        ImpossibleRecord: The journal is not from a run with these parameters.
        OSError: The volume failed.
    """
    journal, state = open_journal(folder / "journal", run, new_run(parameters), apply)
    checkpoints = CheckpointStore(folder / "checkpoints", run)
    engine = RoundEngine(aggregation, journal, Spool(folder / "updates"), checkpoints, state, snapshot_rounds)
    checkpoint = checkpoints.recover()
    return engine, engine.step(Resumed(checkpoint.stored if checkpoint is not None else None), now).effects
