"""Reading what an administrator reads of the add-on, through kubectl."""

import base64
import json
from pathlib import Path
from typing import Any

from demo.install import ADD_ON, INSTALL_NAMESPACE
from fleet.command import CommandFailed
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.waiting import until

Clusters = Fleet | ExistingFleet
Json = dict[str, Any]
CERTIFICATE_SECRET = f"{ADD_ON}-federation-ai.open-cluster-management.io-collaborator-client-cert"
KUBECONFIG_SECRET = f"{ADD_ON}-hub-kubeconfig"


async def read(clusters: Clusters, cluster: str, *what: str) -> Json:
    """One object, or a list of objects; `{}` if it does not exist."""
    try:
        found: Json = json.loads(await clusters.kubectl(cluster, "get", *what, "--output=json"))
    except CommandFailed as error:
        if "NotFound" in error.output:
            return {}
        raise
    return found


async def conditions(clusters: Clusters, spoke: str) -> dict[str, str]:
    """The add-on's conditions on a spoke, as `Status/Reason` by type."""
    found = await read(clusters, HUB, "managedclusteraddon", ADD_ON, f"--namespace={spoke}")
    listed = found.get("status", {}).get("conditions", [])
    return {c["type"]: f"{c['status']}/{c['reason']}" for c in listed}


async def secret(clusters: Clusters, spoke: str, name: str, *, namespace: str = INSTALL_NAMESPACE) -> dict[str, bytes]:
    """A Secret's data on a spoke; `{}` if it does not exist."""
    found = await read(clusters, spoke, "secret", name, f"--namespace={namespace}")
    return {key: base64.b64decode(value) for key, value in found.get("data", {}).items()}


async def until_secret(
    clusters: Clusters, spoke: str, name: str, *, namespace: str = INSTALL_NAMESPACE
) -> dict[str, bytes]:
    """A Secret's data on a spoke, once there is one.

    The add-on is Available once its agent is well, and the klusterlet may have to fetch the certificate still.
    """
    found: dict[str, bytes] = {}

    async def there() -> bool:
        found.update(await secret(clusters, spoke, name, namespace=namespace))
        return bool(found)

    await until(there, f"{spoke} has the Secret {name}")
    return found


async def lose_kubeconfig(clusters: Clusters, spoke: str) -> None:
    """Deletes the agent's kubeconfig on a spoke, and returns once the hub has issued its klusterlet a new one."""
    before = await secret(clusters, spoke, KUBECONFIG_SECRET)
    await clusters.kubectl(
        spoke, "delete", "secret", KUBECONFIG_SECRET, f"--namespace={INSTALL_NAMESPACE}", "--ignore-not-found"
    )

    async def renewed() -> bool:
        now = await secret(clusters, spoke, KUBECONFIG_SECRET)
        return now.get("tls.crt") not in {None, before.get("tls.crt")}

    await until(renewed, "the klusterlet has a new certificate for the agent")


async def klusterlet_kubeconfig(clusters: Clusters, spoke: str, folder: Path) -> Path:
    """The identity with which a spoke's klusterlet speaks to the hub, as a kubeconfig in an existing folder."""
    data = await secret(clusters, spoke, "hub-kubeconfig-secret", namespace="open-cluster-management-agent")
    for name in ("kubeconfig", "tls.crt", "tls.key"):
        (folder / name).write_bytes(data[name])
    return folder / "kubeconfig"
