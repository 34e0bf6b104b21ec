"""Pods and works as the tests need them, as structures."""

import json
from typing import Any

from fleet.command import CommandFailed
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet

Clusters = Fleet | ExistingFleet
Json = dict[str, Any]
_RESTRICTED: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
SERVE = "import http.server as h; h.ThreadingHTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
STAND = "import signal; signal.pause()"
_DIAL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)"


def pod(name: str, image: str, program: str, *, labels: dict[str, str] | None = None) -> Json:
    """A hardened pod in the namespace `default` that runs a Python program once."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "args": ["-c", program],
                    "securityContext": _RESTRICTED,
                }
            ],
        },
    }


def service(name: str, *, selector: dict[str, str], port: int, kind: str = "ClusterIP") -> Json:
    """A Service in the namespace `default`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": kind, "selector": selector, "ports": [{"port": port, "targetPort": port}]},
    }


def manifest_work(name: str, cluster: str, manifest: Json, *, feedback: dict[str, str]) -> Json:
    """A ManifestWork that carries one manifest and reports fields of its status, by name and JSONPath."""
    identifier = {
        "group": manifest["apiVersion"].rpartition("/")[0],
        "resource": f"{manifest['kind'].lower()}s",
        "name": manifest["metadata"]["name"],
        "namespace": manifest["metadata"]["namespace"],
    }
    paths = [{"name": field, "path": path} for field, path in feedback.items()]
    rules = [{"type": "JSONPaths", "jsonPaths": paths}]
    return {
        "apiVersion": "work.open-cluster-management.io/v1",
        "kind": "ManifestWork",
        "metadata": {"name": name, "namespace": cluster},
        "spec": {
            "workload": {"manifests": [manifest]},
            "manifestConfigs": [{"resourceIdentifier": identifier, "feedbackRules": rules}],
        },
    }


def text(*objects: Json) -> str:
    """The objects as `kubectl apply -f -` reads them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


async def pod_address(clusters: Clusters, cluster: str, name: str, *scope: str) -> str:
    """A pod's address; `scope` are kubectl's words for another namespace than `default`."""
    return await clusters.kubectl(cluster, "get", "pod", name, "--output=jsonpath={.status.podIP}", *scope)


async def reaches(clusters: Clusters, cluster: str, name: str, address: str, *scope: str) -> bool:
    """Whether a connection to `HOST:PORT` can be opened from within a pod that has a Python."""
    host, port = address.rsplit(":", 1)
    try:
        await clusters.kubectl(cluster, "exec", name, *scope, "--", "python3", "-c", _DIAL, host, port)
    except CommandFailed as error:
        if "TimeoutError" in error.output or "ConnectionRefusedError" in error.output:
            return False
        raise
    return True
