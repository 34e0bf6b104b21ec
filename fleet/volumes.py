"""Storage that administrators provide: a folder with a site's data, and a volume for models.

A fleet has no volume provisioner, so folders of the node are used. Existing clusters use their StorageClass, and a
ConfigMap for a site's data.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Final

from fleet import manifest
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.layout import HUB
from fleet.manifest import Json
from fleet.waiting import TIMEOUT_FLAG

_FOLDER: Final = "volumes"
_WORLD_READABLE: Final = 0o755


async def place_data(clusters: Fleet | ExistingFleet, spoke: str, name: str, namespace: str, source: Path) -> Json:
    """Make the files of a folder available to pods of a namespace on the spoke, replacing earlier ones.

    Returns:
        The volume source, for a pod or a Dataset.
    """
    if isinstance(clusters, ExistingFleet):
        files = f"--from-file={source}"
        scope = f"--namespace={namespace}"
        made = await clusters.kubectl(
            spoke, "create", "configmap", name, scope, files, "--dry-run=client", "--output=json"
        )
        await clusters.kubectl(spoke, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=made)
        return {"configMap": {"name": name}}
    folder = clusters.layout.cluster(spoke).folder / _FOLDER / name
    await asyncio.to_thread(_copy, source, folder)
    return {"hostPath": {"path": str(folder)}}


async def offer_volume(clusters: Fleet | ExistingFleet, namespace: str, claim: str, size: str = "1Gi") -> None:
    """Create an empty volume on the hub for a claim of that name, replacing an earlier one."""
    if isinstance(clusters, ExistingFleet):
        return
    name = f"{namespace}-{claim}"
    folder = volume_folder(clusters, namespace, claim)
    await clusters.kubectl(HUB, "delete", "persistentvolume", name, "--ignore-not-found", TIMEOUT_FLAG)
    await asyncio.to_thread(_clear, folder)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": claim},
            "local": {"path": str(folder)},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [HUB]}]}
                    ]
                }
            },
        },
    }
    await clusters.kubectl(HUB, "apply", "-f", "-", stdin=manifest.text([volume]))


def volume_folder(fleet: Fleet, namespace: str, claim: str) -> Path:
    """Return the folder on this machine that backs a claim on the hub."""
    return fleet.layout.cluster(HUB).folder / _FOLDER / f"{namespace}-{claim}"


def _copy(source: Path, folder: Path) -> None:
    _clear(folder)
    shutil.copytree(source, folder, dirs_exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        path.chmod(_WORLD_READABLE)


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
