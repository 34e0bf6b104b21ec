"""The fleet enforces NetworkPolicies, so that those of a product are tried for what they let through and keep out."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fleet.fleet import Fleet
from fleet.images import Image
from fleet.waiting import until
from tests.support.fleet.workloads import SERVE, STAND, Json, pod, pod_address, reaches, running, text

pytestmark = pytest.mark.fleet
PODS = {"guarded": SERVE, "open": SERVE, "friend": STAND, "stranger": STAND}


def policy(name: str, of: str, **rules: Any) -> Json:
    """A NetworkPolicy of the pods with that label."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"podSelector": {"matchLabels": {"app": of}}, **rules},
    }


@pytest_asyncio.fixture(scope="module")
async def pods(clusters: Fleet, python_image: Image) -> AsyncIterator[dict[str, str]]:
    """Two servers and two clients on spoke 1: their addresses, by name."""
    spoke = clusters.spokes[0]
    objects = [pod(name, python_image.reference, what, labels={"app": name}) for name, what in PODS.items()]
    async with running(clusters, spoke, *objects):
        yield {name: await pod_address(clusters, spoke, name) for name in PODS}


async def test_a_policy_admits_whom_it_names_and_nobody_else(fleet: Fleet, pods: dict[str, str]) -> None:
    spoke = fleet.spokes[0]
    admits = policy("admits", "guarded", ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}])
    guarded, unguarded = (f"{pods[name]}:8000" for name in ("guarded", "open"))

    async def kept_out() -> bool:
        return not await reaches(fleet, spoke, "stranger", guarded)

    await until(lambda: reaches(fleet, spoke, "stranger", guarded), "the server answers")
    await fleet.kubectl(spoke, "apply", "-f", "-", stdin=text(admits))
    await until(kept_out, "the stranger is kept out")
    await until(lambda: reaches(fleet, spoke, "friend", guarded), "the friend is admitted")
    await until(lambda: reaches(fleet, spoke, "stranger", unguarded), "the other server answers whoever asks")

    await fleet.kubectl(spoke, "delete", "networkpolicy", "admits")
    await until(lambda: reaches(fleet, spoke, "stranger", guarded), "the stranger is let in")


async def test_a_policy_lets_out_to_what_it_names_and_to_nothing_else(fleet: Fleet, pods: dict[str, str]) -> None:
    spoke = fleet.spokes[0]
    allowed, other = (f"{pods[name]}:8000" for name in ("guarded", "open"))
    to = [{"to": [{"ipBlock": {"cidr": f"{pods['guarded']}/32"}}]}]
    server = f"{fleet.layout.cluster(spoke).address}:6443"

    async def kept_in() -> bool:
        return not await reaches(fleet, spoke, "friend", other)

    await until(lambda: reaches(fleet, spoke, "friend", other), "the other server answers")
    await fleet.kubectl(
        spoke, "apply", "-f", "-", stdin=text(policy("lets-out", "friend", egress=to, policyTypes=["Egress"]))
    )
    await until(kept_in, "the client is kept in")
    await until(lambda: reaches(fleet, spoke, "friend", allowed), "the client is let out to what is named")
    assert not await reaches(fleet, spoke, "friend", server)
    assert await reaches(fleet, spoke, "stranger", server)
    await fleet.kubectl(spoke, "delete", "networkpolicy", "lets-out")
