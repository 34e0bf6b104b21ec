"""Storage as administrators provide it: a folder with a site's data, and a volume for models.

A fleet's nodes have no provisioner, so a folder of the node serves; clusters that somebody else made have their own
storage, and take a site's data as a ConfigMap.
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
    """Puts the files of a folder where pods of a namespace of the spoke can mount them, anew where they were.

    Returns:
        The volume, as a pod or a Dataset writes its source.
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
    """Has a volume on the hub ready for a claim of that name; what an earlier claim left in it goes."""
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
    """Where on this machine the volume of a claim on the hub is."""
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
