"""A site that lies, with its own good certificate, on a run that is under way: each lie is refused by its name.

The site's honest collaborator stands still meanwhile, so that its update of the round is outstanding; then it goes on,
and the run ends with the model of honest sites alone, to the last bit.
"""

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import pytest

from federation.pki.names import aggregator_dns
from federation.rpc.gen import exchange_pb2 as pb
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import until
from tests.support.exchange.attacker import Attacker, Target, announced, files_in, reason_of
from tests.support.fleet.fleet_processes import process_of, stopped
from tests.support.fleet.fleet_runs import FleetRun, Json, Model, Sites, equal
from tests.support.fleet.on_hub import CERTIFICATE_SECRET, read, secret

pytestmark = pytest.mark.fleet
COLLABORATOR = "runtimes.openfl"
NAN, INFINITY, ONE = (struct.pack("<f", value) for value in (math.nan, math.inf, 1.0))
Lie = Callable[[Attacker, bytes, int], object]


def upload(change: Callable[[bytes], bytes] = bytes, *, later: int = 0, **said: object) -> Lie:
    """An upload of changed data that announces itself as what it is, but for what is given."""
    return lambda attacker, data, round_: attacker.upload(
        announced(change(data), round_ + later, **said),  # type: ignore[arg-type]
        change(data),
    )


def join(change: Callable[[pb.ModelManifest], object]) -> Lie:
    """A model that is laid out otherwise than the run's."""

    def lie(attacker: Attacker, _data: bytes, _round: int) -> object:
        manifest = pb.ModelManifest()
        manifest.CopyFrom(attacker.join().manifest)
        change(manifest)
        return attacker.join(manifest)

    return lie


def widened(manifest: pb.ModelManifest) -> None:
    """The first tensor with one more dimension, to which it would be broadcast."""
    manifest.tensors[0].shape.insert(0, 5)


LIES: list[dict[str, tuple[Lie, str]]] = [
    {
        "NaN": (upload(lambda data: NAN + data[4:]), "NotANumber"),
        "infinity": (upload(lambda data: data[:-4] + INFINITY), "Infinite"),
        "weight 0": (upload(samples=0), "WeightOutOfBounds"),
        "a huge weight, or a negative one": (upload(samples=(1 << 64) - 1), "WeightOutOfBounds"),
        "1 TB announced": (upload(size=1 << 40), "WrongSize"),
        "a byte less than the model": (upload(lambda data: data[:-1]), "WrongSize"),
        "a model twice": (upload(lambda data: data * 2), "WrongSize"),
        "an unknown task": (upload(task="dream"), "UnknownTask"),
        "a later round": (upload(later=1), "OtherRound"),
        "a round that is over": (upload(later=-1), "OtherRound"),
        "a NaN metric": (
            lambda attacker, _data, round_: attacker.report(
                round_, "train", [pb.Metric(name="loss", value=float("nan"))]
            ),
            "MetricNotFinite",
        ),
    },
    {
        "another digest": (
            lambda attacker, data, round_: attacker.upload(announced(bytes(len(data)), round_), data),
            "WrongDigest",
        ),
        "fewer bytes than announced": (
            lambda attacker, data, round_: attacker.upload(announced(data, round_), data[:-100]),
            "TooShort",
        ),
        "a whole one, where the rest of it follows": (upload(), "OutOfPlace"),
        "more bytes than announced": (
            lambda attacker, data, round_: attacker.upload(announced(ONE + data[4:], round_), ONE + data[4:] + b"x"),
            "TooLong",
        ),
        "a wrong shape": (join(lambda m: m.tensors[0].shape.__setitem__(0, 7)), "WrongShape"),
        "a shape that broadcasts": (join(widened), "WrongShape"),
        "a tensor missing": (join(lambda m: m.tensors.pop()), "MissingTensor"),
        "a tensor too many": (join(lambda m: m.tensors.add(name="zzz", dtype="float32", shape=[1])), "ExtraTensor"),
        "a wrong type": (join(lambda m: setattr(m.tensors[-1], "dtype", "float16")), "WrongType"),
        "another cluster's name": (lambda attacker, _data, _round: attacker.join(cluster="spoke1"), "NameDiffers"),
    },
]


def told(attacker: Attacker, lies: dict[str, tuple[Lie, str]], data: bytes, round_: int) -> dict[str, str]:
    """The reason for which each lie is refused."""
    found = {}
    for name, (lie, _) in lies.items():
        with pytest.raises(grpc.RpcError) as refused:
            lie(attacker, data, round_)
        found[name] = reason_of(refused.value)
    return found


async def _wholes(fleet: Fleet, run: FleetRun) -> dict[str, Path]:
    """The whole updates of the round in work, by site; those of an earlier round go when its model is stored."""
    base = run.volume(fleet) / run.namespace / run.name
    found = await asyncio.to_thread(lambda: [*base.glob("*/updates/[0-9]*/*.whole")])
    newest = max((path.parent.name for path in found), default="")
    return {path.name.split(".")[0]: path for path in found if path.parent.name == newest}


@asynccontextmanager
async def standing_still(fleet: Fleet, run: FleetRun, site: str, other: str) -> AsyncIterator[tuple[int, bytes]]:
    """A site's collaborator stands still meanwhile, and a round waits for it alone: the round, the other's data.

    It is stopped when it has done its part of the round before, so that none of its calls is open: the newest of two
    of one certificate would end it.
    """

    def process(name: str) -> int:
        return process_of(fleet, name, COLLABORATOR, f"FL_RUN={run.namespace}/{run.name}")

    async def has(name: str) -> bool:
        return (await _wholes(fleet, run)).keys() == {name}

    with ExitStack() as stack:
        with stopped(process(other)):
            await until(lambda: has(site), f"a round waits for {other} alone")
            stack.enter_context(stopped(process(site)))
        await until(lambda: has(other), f"a round waits for {site} alone")
        update = (await _wholes(fleet, run))[other]
        yield int(update.parent.name), await asyncio.to_thread(update.read_bytes)


async def closed(fleet: Fleet, run: FleetRun, round_: int) -> None:
    """Waits for the model after the round, or after a later one."""
    base = run.volume(fleet) / run.namespace / run.name

    async def stored() -> bool:
        models = await asyncio.to_thread(lambda: [*base.glob("*/checkpoints/round-??????")])
        return any(int(path.name.removeprefix("round-")) >= round_ for path in models)

    await until(stored, f"the model after round {round_}")


@contextmanager
def attacking(target: Target, material: dict[str, bytes], authorities: bytes, folder: Path) -> Iterator[Attacker]:
    files = files_in(folder, key=material["tls.key"], certificate=material["tls.crt"], authorities=authorities)
    attacker = Attacker(target, files)
    try:
        yield attacker
    finally:
        attacker.close()


def target_of(run: FleetRun, resource: Json, cluster: str) -> Target:
    """The address of the run's aggregator, as collaborators receive it."""
    listener = resource["status"]["listeners"][0]
    return Target(
        address=f"{listener['address']}:{listener['port']}",
        server_name=aggregator_dns(run.name, run.namespace),
        run=f"{resource['metadata']['uid']}-{resource['status']['attempt']}",
        cluster=cluster,
    )


async def test_every_lie_is_refused_by_name_and_the_honest_model_comes_out(
    fleet: Fleet, sites: Sites, reference: list[Model], tmp_path: Path
) -> None:
    run, liar = FleetRun(fleet, "digits-hostile"), sites.names[1]
    await run.submit(sites.image.reference)
    await run.until(lambda status: bool(status.get("listeners")), "the run has an address")
    resource = await read(fleet, HUB, "federatedlearning", run.name, f"--namespace={run.namespace}")
    bundle = await read(
        fleet, liar, "configmap", "federated-learning-trust-bundle", "--namespace=open-cluster-management-agent-addon"
    )
    material = await secret(fleet, liar, CERTIFICATE_SECRET)
    await closed(fleet, run, 1)
    with attacking(target_of(run, resource, liar), material, bundle["data"]["ca.crt"].encode(), tmp_path) as attacker:
        for lies in LIES:
            async with standing_still(fleet, run, liar, sites.names[0]) as (round_, data):
                found = await asyncio.to_thread(told, attacker, lies, data, round_)
            assert found == {name: reason for name, (_, reason) in lies.items()}
            # The bytes that one peer may send for one round are counted, lies and all.
            await closed(fleet, run, round_)
    log = await run.log()

    status = await run.ended()

    assert equal(await run.model(status), reference[-1])
    assert '"reason": "NameDiffers"' in log
    await run.delete()
