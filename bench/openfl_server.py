"""Run OpenFL 1.9's own aggregator as a process: `python -m bench.openfl_server FOLDER PORT PARAMETERS SITES ROUNDS`.

It uses OpenFL's classes and defaults, without features that only cost time: no checkpoint in SQLite unless asked for
(`--durable`), no logs of metrics, no deltas. It runs in an environment that has OpenFL and nothing of the hub.
"""

import argparse
from pathlib import Path

import numpy as np

import runtimes.openfl  # noqa: F401 -- makes OpenFL importable without pip

# isort: split
from openfl.component.aggregator.aggregator import Aggregator
from openfl.component.assigner.static_grouped_assigner import StaticGroupedAssigner
from openfl.interface.aggregation_functions import WeightedAverage
from openfl.transport.grpc.aggregator_server import AggregatorGRPCServer

from bench.work import AGGREGATED_VALIDATION, FEDERATION, OPENFL_AGGREGATOR, TRAIN, Work


def main() -> None:
    """Serve the federation until it ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("work", type=int, nargs=3)
    parser.add_argument("--durable", action="store_true")
    requested_from = parser.parse_args()
    work = Work(*requested_from.work)
    server = AggregatorGRPCServer(
        aggregator(work, requested_from.folder, durable=requested_from.durable),
        agg_port=requested_from.port,
        root_certificate=str(requested_from.folder / "aggregator" / "ca.crt"),
        certificate=str(requested_from.folder / "aggregator" / "tls.crt"),
        private_key=str(requested_from.folder / "aggregator" / "tls.key"),
    )
    server.serve()


def aggregator(work: Work, folder: Path, *, durable: bool) -> Aggregator:
    """Create the aggregator for the work."""
    sites = list(work.clusters)
    tasks = [AGGREGATED_VALIDATION, TRAIN]
    assigner = StaticGroupedAssigner(
        task_groups=[{"name": "all", "percentage": 1.0, "collaborators": sites, "tasks": tasks}],
        tasks={task: {"function": task, "kwargs": {}, "aggregation_type": WeightedAverage()} for task in tasks},
        authorized_cols=sites,
        rounds_to_train=work.rounds,
    )
    values = np.random.default_rng(0).normal(0, 0.01, work.manifest.tensors[0].size).astype(np.float32)
    return Aggregator(
        aggregator_uuid=OPENFL_AGGREGATOR,
        federation_uuid=FEDERATION,
        authorized_cols=sites,
        init_state_path=str(folder / "init.pbuf"),
        best_state_path=str(folder / "best.pbuf"),
        last_state_path=str(folder / "last.pbuf"),
        assigner=assigner,
        rounds_to_train=work.rounds,
        use_delta_updates=False,
        initial_tensor_dict={tensor.name: values.copy() for tensor in work.manifest.tensors},
        callbacks=[],
        persist_checkpoint=durable,
        persistent_db_path=str(folder / "tensor.db"),
    )


if __name__ == "__main__":
    main()
