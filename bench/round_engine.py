"""CPU seconds per GB of what the aggregator does with updates: inspect, spool, fold, checkpoint.

`python -m bench.round_engine [--parameters N] [--sites K] [--folder PATH]` prints one line for each. Seconds are
of this process's CPU time, user and system, in one thread; GB are 10⁹ bytes of updates. The least of three tries is
given, because what others do on the machine can only add to it. What folding allocates is bounded by a test.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from federation.model import DType, ModelManifest, TensorSpec, digest_of, manifest_of
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.numerics.algorithms import Adam, Aggregation, Median, TrimmedMean, WeightedMean
from hub_manager.aggregator.numerics.fold import Diverged, Folding, Slot, TensorSource, Write, fold
from hub_manager.aggregator.storage.checkpoint import CheckpointStore
from hub_manager.aggregator.storage.spool import Spool
from hub_manager.aggregator.validation.content import Inspection

CHUNK = 1 << 20
TRIES = 3
AGGREGATIONS = {
    "weighted mean": Aggregation(),
    "median": Aggregation(Median()),
    "trimmed mean": Aggregation(TrimmedMean(0.2)),
    "Adam": Aggregation(WeightedMean(), Adam(0.1)),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--sites", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=None, help="where the volume is made; default: a temporary one")
    requested_from = parser.parse_args()
    manifest = manifest_of([TensorSpec("w", DType.FLOAT32, (requested_from.parameters,))])
    raw = np.random.default_rng(0).normal(0, 0.01, requested_from.parameters).astype("<f4").tobytes()
    announced = Announcement(1, "train", len(raw), digest_of(raw), 10)
    with tempfile.TemporaryDirectory(dir=requested_from.folder) as folder:
        measure(Path(folder), manifest, raw, announced, requested_from.sites)


def measure(folder: Path, manifest: ModelManifest, raw: bytes, announced: Announcement, sites: int) -> None:
    """Print a line for each step of a round."""
    chunks = [raw[offset : offset + CHUNK] for offset in range(0, len(raw), CHUNK)]
    spool, checkpoints = Spool(folder / "updates"), CheckpointStore(folder / "checkpoints", "bench")
    peers = [f"c{number}" for number in range(sites)]

    def inspect() -> None:
        inspection = Inspection(manifest, announced)
        assert not any(inspection.feed(chunk) for chunk in chunks)  # noqa: S101 -- the update is sound
        assert inspection.finish() is None  # noqa: S101 -- the update is sound

    def receive(peer: str) -> None:
        spool.discard(peer, announced)
        with spool.receive(peer, announced, manifest) as upload:
            for chunk in chunks:
                upload.write(upload.offset, chunk)
            upload.finish()

    def receive_all() -> None:
        for peer in peers:
            receive(peer)

    show("inspect (BLAKE3, finite)", len(raw), inspect)
    show("inspect and spool, durable", len(raw) * sites, receive_all)
    sources = [spool.source(peer, 1, announced.digest) for peer in peers]
    for name, aggregation in AGGREGATIONS.items():
        slots = [Slot(None) for _ in aggregation.slots]
        folding = Folding(manifest, aggregation, sources, [10] * sites, sources[0], slots)
        show(f"fold {sites} sites, {name}", len(raw) * sites, partial(discard, folding))
    checkpoint_cost(checkpoints, manifest, sources[0], len(raw))
    for source in sources:
        source.close()


def checkpoint_cost(checkpoints: CheckpointStore, manifest: ModelManifest, source: TensorSource, size: int) -> None:
    """Print what storing and recovering a model takes, per GB of the model."""
    show("store a checkpoint", size, lambda: checkpoints.store_initial_model(manifest, source))
    show("recover a checkpoint", size, checkpoints.recover)


def discard(folding: Folding) -> None:
    """Fold, and write nowhere."""

    def drop(_: memoryview) -> None:
        pass

    sinks: Sequence[Write] = [drop for _ in folding.slots]
    assert not isinstance(fold(folding, drop, sinks), Diverged)  # noqa: S101 -- the updates are sound


def show(what: str, size: int, work: Callable[[], object]) -> None:
    """Print the least CPU seconds per GB of three tries."""
    seconds = []
    for _ in range(TRIES):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    print(f"{what:34}{min(seconds) / size * 1e9:8.3f} CPU s/GB")


if __name__ == "__main__":
    main()
