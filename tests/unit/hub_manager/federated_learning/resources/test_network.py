"""Test the egress of an aggregator: only to the hub's API server."""

from typing import Any

from federation.kube.kinds import ENDPOINT_SLICE, NETWORK_POLICY
from tests.support.builders.run_objects import SERVER
from tests.support.fakes.run_world import RunWorld, clusters


def _api_server_at(world: RunWorld, *addresses: str) -> None:
    metadata = {"name": "kubernetes", "namespace": "default"}
    slices = {"endpoints": [{"addresses": [address]} for address in addresses], "ports": [{"port": 6443}]}
    world.api.seed(ENDPOINT_SLICE, {"metadata": metadata, **slices})


def _egress(world: RunWorld) -> list[Any]:
    rules = world.one(NETWORK_POLICY, SERVER)["spec"]["egress"]
    return [(rule["to"][0]["ipBlock"]["cidr"], rule["ports"][0]["port"]) for rule in rules]


async def test_egress_follows_the_api_server() -> None:
    world = clusters(RunWorld(), "c1", "c2")
    _api_server_at(world, "192.0.2.1", "192.0.2.2")
    await world.submit()
    await world.settle()
    before = _egress(world)

    _api_server_at(world, "192.0.2.2", "2001:db8::1")
    await world.settle()

    assert before == [("192.0.2.1/32", 6443), ("192.0.2.2/32", 6443)]
    assert _egress(world) == [("192.0.2.2/32", 6443), ("2001:db8::1/128", 6443)]
