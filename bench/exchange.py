"""Measure CPU seconds per GB and memory of the hub's aggregator, and of OpenFL 1.9's on the same work.

`python -m bench.exchange [--parameters N] [--sites K …] [--rounds R] [--openfl PYTHON] [--openfl-sites K …]`. Each
aggregator is a separate process with mutual TLS on the loopback; the sites are threads of this process (of another one
for OpenFL) without a model in memory. `received` is from the first byte of an update to the next model, checked,
folded and durable; `sent` are downloads of the global model. GB are 10⁹ bytes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from bench.exchange_site import CHUNK, ExchangeSite, Repeated
from bench.lockstep import Measured, drive
from bench.usage import filled
from bench.work import Work
from federation.api.federated_learning import Aggregation
from federation.exported_plan import MODEL_FILE, PLAN_FILE, encode
from federation.safetensors import header
from tests.support.exchange.aggregator_runs import PLAN, Pod

ENVIRONMENT = {**os.environ, "MALLOC_ARENA_MAX": "2"}
"""As in the images; it also reduces OpenFL's memory."""


def values() -> bytes:
    """Return the chunk that the whole model repeats; no aggregator compares data beyond a block."""
    return np.random.default_rng(0).normal(0, 0.01, CHUNK // 4).astype("<f4").tobytes()


def ours(work: Work, folder: Path, ballast: Path | None) -> Measured:
    """Measure the hub's aggregator in the folder."""
    pod = Pod(folder)
    pod.submit(
        rounds=work.rounds, min_clients_per_round=work.sites, aggregation=Aggregation(), round_timeout_seconds=3600
    )
    pod.write_cohort(*work.clusters)
    plan = msgspec.structs.replace(PLAN, rounds=work.rounds, initial_model=MODEL_FILE)
    (pod.folders.workspace / PLAN_FILE).write_bytes(encode(plan))
    update = Repeated(values(), work.model_bytes)
    with (pod.folders.workspace / MODEL_FILE).open("wb") as file:
        file.write(header(work.manifest, {}))
        file.writelines(update)
    with aggregator(folder) as (process, port), filled(ballast) as between:
        sites = [
            ExchangeSite(f"127.0.0.1:{port}", pod.desk.collaborator(cluster), cluster, update, samples=10 + place)
            for place, cluster in enumerate(work.clusters)
        ]
        return drive(sites, work.rounds, process, between)


@contextmanager
def aggregator(folder: Path) -> Iterator[tuple[int, int]]:
    """Start the hub's aggregator and yield its process ID and port."""
    command = [sys.executable, "-m", "bench.aggregator_process", str(folder)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None  # noqa: S101 -- asked for above
            yield process.pid, int(process.stdout.readline())
        finally:
            process.terminate()


def openfl(work: Work, python: str, folder: Path, ballast: Path | None, *, durable: bool) -> Measured:
    """Measure OpenFL's aggregator in the folder, driven by a process in OpenFL's environment."""
    options = [*["--durable"] * durable, *([] if ballast is None else ["--ballast", str(ballast)])]
    numbers = map(str, (work.parameters, work.sites, work.rounds))
    command = [python, "-m", "bench.openfl_aggregator", str(folder), *numbers, *options]
    done = subprocess.run(command, env=ENVIRONMENT, check=False, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr.decode(errors="replace"))
    return msgspec.json.decode(done.stdout, type=Measured)


def row(name: str, work: Work, found: Measured) -> str:
    """Return one line of the table."""
    grown = found.peak - found.idle
    return (
        f"{name:8}{work.parameters / 1e6:6.0f}M{work.sites:6}{work.rounds:7}"
        f"{sum(found.received.wall):9.1f}{sum(found.received.cpu):9.2f}{found.received.bytes / 1e9:7.1f}"
        f"{found.received.cpu_per_gb:9.2f}{found.sent.cpu_per_gb:9.2f}"
        f"{found.idle / 1e6:8.0f}{found.peak / 1e6:8.0f}{found.peak_resident / 1e6:8.0f}{grown / work.model_bytes:8.2f}"
    )


HEAD = (
    f"{'':8}{'params':>7}{'sites':>6}{'rounds':>7}{'wall s':>9}{'CPU s':>9}{'GB':>7}{'CPU s/GB':>9}{'sent':>9}"
    f"{'idle':>8}{'peak':>8}{'VmHWM':>8}{'models':>8}"
)


def ratio(here: Measured, there: Measured) -> str:
    """Return the ratios of OpenFL's results to the hub's."""
    pairs = {
        "CPU s/GB received": (there.received.cpu_per_gb, here.received.cpu_per_gb),
        "CPU s/GB sent": (there.sent.cpu_per_gb, here.sent.cpu_per_gb),
        "wall": (sum(there.received.wall + there.sent.wall), sum(here.received.wall + here.sent.wall)),
        "memory above idle": (there.peak - there.idle, here.peak - here.idle),
    }
    return "OpenFL over ours: " + ", ".join(f"{name} {theirs / mine:.1f}" for name, (theirs, mine) in pairs.items())


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parameters", type=int, default=50_000_000)
    parser.add_argument("--sites", type=int, nargs="*", default=[3, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--openfl", default=None, help="the Python of an environment with OpenFL 1.9")
    parser.add_argument(
        "--openfl-sites", type=int, nargs="*", default=[3], help="16 of 50M would take OpenFL some 8 GB"
    )
    parser.add_argument("--openfl-durable", action="store_true", help="with OpenFL's checkpoint, as ours always is")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the volumes are made; default: a temporary one"
    )
    parser.add_argument("--fill", action="store_true", help="keep the machine's memory filled (`usage.Ballast`)")
    return parser.parse_args()


def main() -> None:
    """Measure and print the results."""
    requested_from = arguments()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(dir=requested_from.folder) as shared:
        ballast = Path(shared) / "ballast" if requested_from.fill else None
        for count in requested_from.sites:
            work = Work(requested_from.parameters, count, requested_from.rounds)
            with tempfile.TemporaryDirectory(dir=shared) as folder:
                here = ours(work, Path(folder), ballast)
            print(row("ours", work, here), flush=True)
            if requested_from.openfl and count in requested_from.openfl_sites:
                with tempfile.TemporaryDirectory(dir=shared) as folder:
                    there = openfl(
                        work, requested_from.openfl, Path(folder), ballast, durable=requested_from.openfl_durable
                    )
                print(row("OpenFL", work, there), ratio(here, there), sep="\n", flush=True)


if __name__ == "__main__":
    main()
