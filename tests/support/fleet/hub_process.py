"""The hub manager as a process of the test's own, outside the cluster, under the rights that it is installed with.

Run as a program it leads at once and, on request, killed by `kill -9` right after a write took effect: a crash at the
worst moment, as often as a test wants it.
"""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from demo.install import HUB_NAMESPACE
from federation.kube.client import Client
from federation.kube.kinds import EVENT
from federation.logging import configure_logging
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import TIMEOUT_FLAG
from hub_manager.addon.reconciler import FIELD_MANAGER
from hub_manager.app import Hub, further_parts
from hub_manager.certificates.signer.authority import AuthoritySchedule
from hub_manager.config import HubManagerConfig
from tests.support.fleet.ocm_hub import manager_config
from tests.support.fleet.on_hub import read

Clusters = Fleet | ExistingFleet
DEPLOYMENT = "deployment/federated-learning-hub-manager"
WRITES = ("apply", "create", "delete", "merge_patch", "replace")


@asynccontextmanager
async def installed_stopped(clusters: Clusters) -> AsyncIterator[str]:
    """Stop the installed replicas for the duration; yield the agent's image from their settings."""
    deployment = await read(clusters, HUB, DEPLOYMENT, f"--namespace={HUB_NAMESPACE}")
    environment = {
        v["name"]: v.get("value", "") for v in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    await _scale(clusters, 0)
    try:
        yield environment["AGENT_IMAGE"]
    finally:
        await _scale(clusters, 2)


async def _scale(clusters: Clusters, replicas: int) -> None:
    await clusters.kubectl(HUB, "scale", DEPLOYMENT, f"--replicas={replicas}", f"--namespace={HUB_NAMESPACE}")
    words: tuple[str, ...] = ("rollout", "status", DEPLOYMENT)
    if not replicas:
        words = ("wait", "pods", "--for=delete", "--selector=app.kubernetes.io/name=federated-learning-hub-manager")
    await clusters.kubectl(HUB, *words, f"--namespace={HUB_NAMESPACE}", TIMEOUT_FLAG)


async def manager_kubeconfig(clusters: Clusters, folder: Path) -> Path:
    """A kubeconfig as the manager's own service account, so that nothing works here that its RBAC forbids."""
    token = await clusters.kubectl(
        HUB, "create", "token", "federated-learning-hub-manager", f"--namespace={HUB_NAMESPACE}", "--duration=1h"
    )
    target = folder / "manager.kubeconfig"
    view = await clusters.kubectl(HUB, "config", "view", "--raw", "--minify", "--flatten")
    await asyncio.to_thread(target.write_text, view)
    for words in (
        ("config", "set-credentials", "manager", f"--token={token.strip()}"),
        ("config", "set-context", "--current", "--user=manager"),
    ):
        await clusters.kubectl(HUB, f"--kubeconfig={target}", *words)
    return target


def config(kubeconfig: Path, agent_image: str, **changes: Any) -> HubManagerConfig:
    """The manager's settings; `changes` may be such as no installation admits."""
    named = {"POD_NAME": f"test-{secrets.token_hex(4)}", "AGENT_IMAGE": agent_image, "KUBECONFIG": str(kubeconfig)}
    return replace(manager_config(**named), **changes)


@asynccontextmanager
async def leading(settings: HubManagerConfig, schedule: AuthoritySchedule) -> AsyncIterator[None]:
    """A manager in this process, which leads while the context lasts."""
    kubeconfig = settings.kubeconfig
    assert kubeconfig is not None
    async with Client.from_kubeconfig(kubeconfig, field_manager=FIELD_MANAGER) as api:
        further = further_parts(settings, api, CollectorRegistry(), schedule=schedule)
        task = asyncio.create_task(Hub(settings, api, now=lambda: datetime.now(UTC), further=further).lead())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class KilledAfterWrite:
    """An API connection whose process is killed as soon as one write has taken effect, and no other has been sent.

    Writes of Events are exempt, because they are not state: a manager killed after each Event would record it again at
    every start, and never reach its work.
    """

    def __init__(self, api: Client) -> None:
        self._api = api
        self._one = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._api, name)
        if name not in WRITES:
            return call

        async def write(*words: Any, **named: Any) -> Any:
            if words[0] is EVENT:
                return await call(*words, **named)
            async with self._one:
                done = await call(*words, **named)
                sys.stdout.write(f"{name} {words[0].kind}\n")
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return write


async def _main(kubeconfig: Path, agent_image: str) -> None:
    settings = config(kubeconfig, agent_image, certificate_lifetime=timedelta(hours=24))
    async with Client.from_kubeconfig(kubeconfig, field_manager=FIELD_MANAGER) as api:
        doomed: Any = KilledAfterWrite(api)
        further = further_parts(settings, doomed, CollectorRegistry())
        await Hub(settings, doomed, now=lambda: datetime.now(UTC), further=further).lead()


if __name__ == "__main__":
    configure_logging("error")
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
