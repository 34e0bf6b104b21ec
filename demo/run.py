"""Run `make demo`: create a fleet, install the add-on, train a model, evaluate it, and list the next steps."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from demo import digits, images, install
from demo.digits import NAME, HeldOutAccuracy
from fleet import lifecycle, requirements
from fleet.fleet import Fleet
from fleet.layout import HUB, Layout

SPOKES: Final = 2


async def demo(layout: Layout) -> HeldOutAccuracy:
    """Run all steps and print the duration of each.

    Raises:
        RequirementsNotMet: The machine can't run a fleet; the message says why.
        CommandFailed: A step failed, for example the run.
    """
    requirements.check(layout)
    with _step("the fleet is up: a hub and two spokes, joined by Open Cluster Management"):
        fleet = await lifecycle.up(layout, spokes=SPOKES, report=_print)
    with _step("the images are built"):
        await images.build_all(layout)
    with _step("the hub manager is installed"):
        await install.install_hub(fleet)
    with _step(f"the add-on is enabled on {', '.join(fleet.spokes)}, which have their certificates"):
        await install.enable(fleet, *fleet.spokes)
    shards = await _publish(fleet)
    with _step("the run is submitted"):
        image = await digits.load_collaborator(fleet)
        await digits.submit(fleet, digits.federated_learning(image.reference))
    await _watch(fleet)
    model = shards.with_name("model.safetensors")
    with _step("the model is downloaded and matches its digest"):
        await digits.fetch_model(fleet, model)
    with _step("the model is evaluated, next to those that each site trains alone"):
        verdict = await digits.evaluate(shards, model)
    _print(_summary(fleet, verdict, model))
    return verdict


async def _publish(fleet: Fleet) -> Path:
    shards = Path(tempfile.mkdtemp(prefix="digits-")) / "shards"
    with _step("each site has its shard of the digits, and offers it as a Dataset"):
        await digits.make_shards(shards, fleet.spokes)
        for spoke in fleet.spokes:
            await digits.publish(fleet, spoke, shards)
    return shards


async def _watch(fleet: Fleet) -> None:
    """Show the run on this terminal until it ends.

    Raises:
        SystemExit: The run failed; `kubectl fl` has printed the reason.
    """
    process = await asyncio.create_subprocess_exec(*digits.kubectl_fl(fleet, "watch", NAME, f"--namespace={NAME}"))
    if status := await process.wait():
        raise SystemExit(status)


def _summary(fleet: Fleet, verdict: HeldOutAccuracy, model: Path) -> str:
    rows = [("all sites together", verdict.federation), *((f"{name} alone", v) for name, v in verdict.alone.items())]
    table = "\n".join(f"  {name:<20} {value:.4f}" for name, value in rows)
    kubectl = f"KUBECONFIG={fleet.kubeconfig(HUB)} {_kubectl_of(fleet)}"
    return f"""
Accuracy on 400 digits that no site has seen:
{table}

The model: {model}
Next steps:
  {kubectl} describe federatedlearning {NAME} --namespace {NAME}
  {kubectl} logs job/{NAME}-server --namespace {NAME}
  {kubectl} get managedclusters,managedclusteraddons --all-namespaces
  make fleet-status       each cluster's node, membership, pods, memory and CPU
  make demo-down          delete the fleet
"""


def _kubectl_of(fleet: Fleet) -> str:
    return "kubectl" if shutil.which("kubectl") else fleet.kubectl_program


@contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    _print(f"[{time.monotonic() - began:5.1f} s] {what}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
