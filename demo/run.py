"""`make demo`: the main job on a fleet, from nothing to a model that is judged, and where to look next."""

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
from demo.digits import NAME, Verdict
from fleet import lifecycle, requirements
from fleet.fleet import Fleet
from fleet.layout import HUB, Layout

SPOKES: Final = 2


async def demo(layout: Layout) -> Verdict:
    """Everything, said step by step with its seconds.

    Raises:
        RequirementsNotMet: The machine can't run a fleet; the message says why.
        CommandFailed: A step did not work; the run's own failure among them.
    """
    requirements.check(layout)
    with _step("the fleet is up: a hub and two spokes, joined by Open Cluster Management"):
        fleet = await lifecycle.up(layout, spokes=SPOKES, report=_say)
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
    with _step("the model is fetched from the store, and is what its digest says"):
        await digits.fetch_model(fleet, model)
    with _step("the model is judged, beside those that each site trains alone"):
        verdict = await digits.evaluate(shards, model)
    _say(_told(fleet, verdict, model))
    return verdict


async def _publish(fleet: Fleet) -> Path:
    shards = Path(tempfile.mkdtemp(prefix="digits-")) / "shards"
    with _step("each site has its shard of the digits, and offers it as a Dataset"):
        await digits.make_shards(shards, fleet.spokes)
        for spoke in fleet.spokes:
            await digits.publish(fleet, spoke, shards)
    return shards


async def _watch(fleet: Fleet) -> None:
    """Shows the run on this terminal, as a person watches it, until it has ended.

    Raises:
        SystemExit: It failed; it has said why.
    """
    told = await asyncio.create_subprocess_exec(*digits.kubectl_fl(fleet, "watch", NAME, f"--namespace={NAME}"))
    if status := await told.wait():
        raise SystemExit(status)


def _told(fleet: Fleet, verdict: Verdict, model: Path) -> str:
    rows = [("all sites together", verdict.federation), *((f"{name} alone", v) for name, v in verdict.alone.items())]
    table = "\n".join(f"  {name:<20} {value:.4f}" for name, value in rows)
    kubectl = f"KUBECONFIG={fleet.kubeconfig(HUB)} {_kubectl_of(fleet)}"
    return f"""
Accuracy on 400 digits that no site has seen:
{table}

The model: {model}
Where to look next:
  {kubectl} describe federatedlearning {NAME} --namespace {NAME}
  {kubectl} logs job/{NAME}-server --namespace {NAME}
  {kubectl} get managedclusters,managedclusteraddons --all-namespaces
  make fleet-status       each cluster's node, membership, pods, memory and CPU
  make demo-down          take it all down
"""


def _kubectl_of(fleet: Fleet) -> str:
    return "kubectl" if shutil.which("kubectl") else fleet.kubectl_program


@contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    _say(f"[{time.monotonic() - began:5.1f} s] {what}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
