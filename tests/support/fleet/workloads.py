"""Pods and works as the tests need them, as structures."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fleet.command import CommandFailed
from fleet.existing import ExistingFleet
from fleet.fleet import Fleet
from fleet.waiting import TIMEOUT_FLAG

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
_NOT_REACHED = ("TimeoutError", "ConnectionRefusedError", "socket.gaierror")
"""As Python says it: no answer, no listener, no such name."""


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


@asynccontextmanager
async def running(clusters: Clusters, cluster: str, *objects: Json) -> AsyncIterator[None]:
    """Pods, and what goes with them, in the namespace `default`: they run when the block begins, and go after it."""
    pods = [each["metadata"]["name"] for each in objects if each["kind"] == "Pod"]
    await clusters.kubectl(cluster, "apply", "-f", "-", stdin=text(*objects))
    try:
        await clusters.kubectl(cluster, "wait", "--for=condition=Ready", "pod", *pods, TIMEOUT_FLAG)
        yield
    finally:
        await clusters.kubectl(cluster, "delete", "-f", "-", "--now", stdin=text(*objects))


async def pod_address(clusters: Clusters, cluster: str, name: str, *scope: str) -> str:
    """A pod's address; `scope` are kubectl's words for another namespace than `default`."""
    return await clusters.kubectl(cluster, "get", "pod", name, "--output=jsonpath={.status.podIP}", *scope)


async def reaches(clusters: Clusters, cluster: str, name: str, address: str, *scope: str) -> bool:
    """Whether a connection to `HOST:PORT`, a name or an address, can be opened from within a pod that has a Python.

    What has just been made is asked for by `until`: a pod is Ready before its program listens, and kube-proxy and
    CoreDNS hear of a Service a moment after the API server.
    """
    host, port = address.rsplit(":", 1)
    try:
        await clusters.kubectl(cluster, "exec", name, *scope, "--", "python3", "-c", _DIAL, host, port)
    except CommandFailed as error:
        if any(each in error.output for each in _NOT_REACHED):
            return False
        raise
    return True
