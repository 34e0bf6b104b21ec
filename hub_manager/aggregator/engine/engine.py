"""The round engine of one run: the pure rounds, put on a volume.

A step writes its facts to the journal and gives back the effects that are the service's to perform. Folding and
storing are performed here, in a thread of the caller's, and give the next event. Below the volume's folder lie
`journal`, `updates/` and `checkpoints/`; whatever happens to the process, `open_engine` goes on from them.
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
    """One run in one process; `step` is called by one thread, and `perform` by one, which may be another."""

    aggregation: Aggregation
    journal: Journal
    spool: Spool
    checkpoints: CheckpointStore
    state: State
    snapshot_rounds: int = SNAPSHOT_ROUNDS

    def step(self, event: Event, now: float) -> StepResult:
        """What is to be done about an event, in order; its facts are durable on return.

        Args:
            event: What was seen.
            now: Seconds since the epoch.

        Raises:
            ImpossibleRecord: The engine contradicts itself. The process has to end; nothing of the step was written.
            OSError: The volume failed. The process has to end, and its successor goes on from what is on disk.
        """
        result = advance(self.state, event, now)
        self.journal.append(result.durable_records)
        self.state = result.state
        if is_due(result.durable_records, self.snapshot_rounds):
            self.journal.compact(snapshot_of(self.state))
        return result

    def perform(self, effect: StoreInitialModel | FoldUpdates) -> ModelStored | FoldDiverged:
        """Fold or store what is spooled; the event says what came of it. Takes its time: not for the event loop.

        Raises:
            OSError: The volume failed, or a spooled update is gone. As above.
        """
        if isinstance(effect, StoreInitialModel):
            return self._store_initial_model(effect)
        manifest = self.state.manifest
        if manifest is None:
            raise ValueError("nothing is folded before the model's layout is known")
        with ExitStack() as stack:
            opened = stack.enter_context
            updates = [opened(self.spool.source(part.peer, effect.round, part.digest)) for part in effect.parts]
            base = opened(self.checkpoints.source(effect.round - 1))
            slots = [opened(self.checkpoints.slot(*slot)) for slot in self._slots(effect.round - 1)]
            kept = [Slot(source) for source in slots] or [Slot(None) for _ in self.aggregation.slots]
            weights = [part.weight for part in effect.parts]
            folding = Folding(manifest, self.aggregation, updates, weights, base, kept)
            names = self.aggregation.slots
            stored = self.checkpoints.store(
                effect.round, manifest, names, lambda model, slots: fold(folding, model, slots)
            )
        if isinstance(stored, Diverged):
            return FoldDiverged(effect.round, f"tensor {stored.tensor!r} overflows in round {effect.round}")
        return ModelStored(stored.round, stored.digest)

    def close(self) -> None:
        """Let go of the journal."""
        self.journal.close()

    def _store_initial_model(self, effect: StoreInitialModel) -> ModelStored:
        with self.spool.source(effect.part.peer, INITIAL_ROUND, effect.part.digest) as source:
            stored = self.checkpoints.store_initial_model(effect.manifest, source)
        return ModelStored(stored.round, stored.digest)

    def _slots(self, round_number: int) -> list[tuple[int, str]]:
        """Where the optimizer's slots after a round lie: nowhere after the first model."""
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
    """The engine of a run, as far as it had come, and what is to be done first.

    A model to start from is brought by `CheckpointStore.store_initial_model` before the first start.

    Args:
        folder: The run's own, on its volume.
        run: The run's unique id.
        parameters: Of the run; the same at every start.
        aggregation: The same at every start.
        now: Seconds since the epoch.
        snapshot_rounds: After how many rounds the journal begins anew.

    Raises:
        JournalDamaged: The journal can't be gone on from.
        ImpossibleRecord: The journal is not of a run on these terms.
        OSError: The volume failed.
    """
    journal, state = open_journal(folder / "journal", run, new_run(parameters), apply)
    checkpoints = CheckpointStore(folder / "checkpoints", run)
    engine = RoundEngine(aggregation, journal, Spool(folder / "updates"), checkpoints, state, snapshot_rounds)
    found = checkpoints.recover()
    return engine, engine.step(Resumed(found.stored if found is not None else None), now).effects
