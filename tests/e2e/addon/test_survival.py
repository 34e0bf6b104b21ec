"""Whatever is killed or cut off while a cluster is being enabled, the end is the same."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from demo import install
from demo.images import REPOSITORY
from demo.install import ADD_ON, HUB_NAMESPACE
from fleet.cluster import daemons
from fleet.cluster.network import Link
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import TIMEOUT_FLAG, until
from tests.support.fleet.fleet_processes import process_of
from tests.support.fleet.hub_process import installed_stopped, manager_kubeconfig
from tests.support.fleet.on_hub import CERTIFICATE_SECRET, conditions, read, secret, until_secret

pytestmark = pytest.mark.fleet
Clusters = Fleet | ExistingFleet
Json = dict[str, Any]
LEASE = ("lease", "federated-learning-hub-manager", f"--namespace={HUB_NAMESPACE}")


async def create_add_on(clusters: Clusters, spoke: str) -> None:
    await clusters.kubectl(HUB, "apply", "-f", "-", stdin=json.dumps(install.add_on(spoke)))


async def until_available(clusters: Clusters, spoke: str) -> None:
    scope = f"--namespace={spoke}"
    await clusters.kubectl(
        HUB, "wait", "--for=condition=Available", f"managedclusteraddon/{ADD_ON}", scope, TIMEOUT_FLAG
    )


async def on_hub(clusters: Clusters, spoke: str) -> Json:
    """The hub's objects of a spoke's add-on without the spoke's name: equal for all spokes."""
    scope = f"--namespace={spoke}"
    found = await read(clusters, HUB, "manifestworks,roles,rolebindings,addonplacementscores", scope)
    objects = {
        f"{item['kind']} {item['metadata']['name']}": {
            "labels": item["metadata"].get("labels"),
            "owners": [o["kind"] for o in item["metadata"].get("ownerReferences", [])],
            **{part: item.get(part) for part in ("spec", "rules", "roleRef", "subjects")},
        }
        for item in found["items"]
        if ADD_ON in item["metadata"]["name"]
    }
    add_on = await read(clusters, HUB, "managedclusteraddon", ADD_ON, scope)
    objects["registrations"] = add_on["status"]["registrations"]
    same: Json = json.loads(json.dumps(objects).replace(spoke, "SPOKE"))
    return same


async def test_a_manager_killed_after_each_of_its_writes_ends_where_an_undisturbed_one_does(
    enabled: Clusters, tmp_path: Path
) -> None:
    disturbed, undisturbed = enabled.spokes[:2]
    await install.disable(enabled, disturbed)
    writes: list[str] = []
    async with installed_stopped(enabled) as agent_image:
        kubeconfig = await manager_kubeconfig(enabled, tmp_path)
        await create_add_on(enabled, disturbed)
        async with asyncio.timeout(600):
            while not await _enabled(enabled, disturbed):
                writes.append(await _one_write_then_killed(kubeconfig, agent_image))
    assert len(writes) >= 8, writes
    assert {"apply ManifestWork", "merge_patch ManagedClusterAddOn", "replace CertificateSigningRequest"} <= set(writes)

    await until_available(enabled, disturbed)

    async def same() -> bool:
        return await on_hub(enabled, disturbed) == await on_hub(enabled, undisturbed)

    await until(same, "the hub has of both what it has of the other")
    requests = await read(enabled, HUB, "csr", f"--selector=open-cluster-management.io/cluster-name={disturbed}")
    decided = [c["type"] for r in requests["items"] for c in r.get("status", {}).get("conditions", ())]
    assert set(decided) == {"Approved"}


async def _enabled(clusters: Clusters, spoke: str) -> bool:
    """Whether the spoke has its certificate and the hub has the agent's work: then every kind of write was made."""
    work = await read(clusters, HUB, "manifestwork", f"addon-{ADD_ON}-deploy-0", f"--namespace={spoke}")
    return bool(work) and bool(await secret(clusters, spoke, CERTIFICATE_SECRET))


async def _one_write_then_killed(kubeconfig: Path, agent_image: str) -> str:
    """Runs a manager until its first write has taken effect and it is killed; says which write that was.

    One that finds nothing to write, because the klusterlet has to move first, is killed too.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.fleet.hub_process", str(kubeconfig), agent_image),
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=asyncio.subprocess.PIPE,
    )
    said = b"nothing"
    try:
        async with asyncio.timeout(30):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == -signal.SIGKILL
    return said.decode().strip()


@pytest.mark.usefixtures("enabled")
async def test_a_killed_leader_is_followed_by_the_other_replica_and_nothing_is_done_twice(fleet: Fleet) -> None:
    spoke = fleet.spokes[0]
    await install.disable(fleet, spoke)
    first, process = await _leader(fleet)
    await daemons.end([process], first=signal.SIGKILL)
    await create_add_on(fleet, spoke)

    await until_available(fleet, spoke)

    async def followed() -> bool:
        return await _holder(fleet) != first

    await until(followed, "another replica leads")
    works = await read(fleet, HUB, "manifestworks", f"--namespace={spoke}")
    assert {w["metadata"]["name"]: w["metadata"]["generation"] for w in works["items"]} == {
        f"addon-{ADD_ON}-deploy-0": 1
    }


async def _holder(fleet: Fleet) -> str:
    """The holder of the Lease; empty if it has no holder."""
    return str((await read(fleet, HUB, *LEASE))["spec"].get("holderIdentity", ""))


async def _leader(fleet: Fleet) -> tuple[str, int]:
    """The identity of the replica that leads, and its process, once one of those that run does."""
    found: list[tuple[str, int]] = []

    async def leads() -> bool:
        holder = await _holder(fleet)
        pod = holder.rpartition("-")[0]
        with suppress(LookupError):
            found.append((holder, process_of(fleet, HUB, "hub_manager", f"HOSTNAME={pod or 'nobody'}")))
        return bool(found)

    await until(leads, "a replica leads")
    return found[0]


async def test_a_spoke_cut_off_while_it_is_enabled_becomes_available_once_it_is_back(
    fleet: Fleet, enabled: Clusters
) -> None:
    spoke = enabled.spokes[0]
    await install.disable(fleet, spoke)
    await fleet.set_link(spoke, Link(cut=True))
    try:
        await create_add_on(fleet, spoke)
        await fleet.kubectl(
            HUB,
            "wait",
            "--for=create",
            f"manifestwork/addon-{ADD_ON}-deploy-0",
            f"--namespace={spoke}",
            TIMEOUT_FLAG,
        )
        assert (await conditions(fleet, spoke)).get("Available", "").partition("/")[0] != "True"
    finally:
        await fleet.set_link(spoke, Link())
    await until_available(fleet, spoke)
    await until_secret(fleet, spoke, CERTIFICATE_SECRET)


async def test_a_spoke_cut_off_while_it_is_disabled_is_cleared_once_it_is_back(fleet: Fleet, enabled: Clusters) -> None:
    spoke = enabled.spokes[1]
    await fleet.set_link(spoke, Link(cut=True))
    try:
        await fleet.kubectl(HUB, "delete", f"managedclusteraddon/{ADD_ON}", f"--namespace={spoke}", "--wait=false")

        async def rights_gone() -> bool:
            roles = await read(fleet, HUB, "roles,rolebindings", f"--namespace={spoke}")
            return not [r for r in roles["items"] if ADD_ON in r["metadata"]["name"]]

        await until(rights_gone, "the agent's rights on the hub end at once")
    finally:
        await fleet.set_link(spoke, Link())

    async def cleared() -> bool:
        return not await secret(fleet, spoke, CERTIFICATE_SECRET)

    await until(cleared, "the spoke's certificate is gone")
    await install.enable(fleet, spoke)
