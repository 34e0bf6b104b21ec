"""Evaluate a federated model, and models that each site trains alone, on the held-out digits.

    python evaluate.py SHARDS MODEL

`SHARDS` is the output of `make_shards.py`, `MODEL` the run's `model.safetensors` (`kubectl fl model`). A single site
trains with the same plan and number of rounds on its own shard. Requires the packages of the collaborator's image.
"""

import argparse
import json
import sys
from pathlib import Path

import runtimes.openfl  # noqa: F401 - must precede OpenFL, see there

# isort: split
import numpy as np
import yaml
from src.dataloader import DigitsLoader
from src.model import Weights, accuracy
from src.shard import FILE, read_shard
from src.taskrunner import DigitsTaskRunner

WORKSPACE = Path(__file__).parent
HELD_OUT = "held-out"


def read_model(path: Path) -> Weights:
    """Read the float32 tensors of a safetensors file (github.com/huggingface/safetensors, "Format")."""
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        for name, entry in header.items()
    }


def train_alone(shard: Path) -> Weights:
    """Train one site's model alone for the plan's number of rounds."""
    plan = yaml.safe_load((WORKSPACE / "plan" / "plan.yaml").read_text(encoding="utf-8"))
    loader = DigitsLoader(str(shard), **plan["data_loader"]["settings"])
    runner = DigitsTaskRunner(data_loader=loader, **plan["task_runner"]["settings"])
    runner.initialize_tensorkeys_for_functions()
    for number in range(plan["aggregator"]["settings"]["rounds_to_train"]):
        runner.train_task("alone", number, runner.get_tensor_dict(), **plan["tasks"]["train"]["kwargs"])
    return runner.get_tensor_dict()


def evaluate(shards: Path, model: Path) -> dict[str, float]:
    """Return the accuracies on the held-out digits: of the federation, and of each site alone by its name."""
    held_out = read_shard(shards / HELD_OUT / FILE)
    sites = sorted(folder for folder in shards.iterdir() if folder.is_dir() and folder.name != HELD_OUT)
    alone = {site.name: accuracy(train_alone(site), *held_out) for site in sites}
    return {"federation": accuracy(read_model(model), *held_out), **alone}


def main() -> None:
    """Read the arguments and print a line of JSON for each model."""
    parser = argparse.ArgumentParser(description="Evaluate a federated model on the held-out digits.")
    parser.add_argument("shards", type=Path, help="the folder that make_shards.py wrote")
    parser.add_argument("model", type=Path, help="the run's model.safetensors")
    arguments = parser.parse_args()
    for name, value in evaluate(arguments.shards, arguments.model).items():
        sys.stdout.write(json.dumps({"model": name, "accuracy": round(value, 4)}) + "\n")


if __name__ == "__main__":
    main()
