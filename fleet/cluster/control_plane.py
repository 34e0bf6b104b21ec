"""The control plane of one cluster: etcd, kube-apiserver, controller manager, scheduler and their credentials."""

import asyncio
from pathlib import Path
from typing import Final

from fleet.cluster import daemons
from fleet.cluster.credentials import Authority, kubeconfig, new_private_key, write_private
from fleet.command import run, succeeds
from fleet.layout import (
    API_SERVER_PORT,
    API_SERVER_SERVICE,
    CLUSTER_DOMAIN,
    SERVICE_RANGE,
    ClusterLayout,
)
from fleet.waiting import until

_CLIENTS: Final = {
    "admin": ("kubernetes-admin", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "kube-proxy": ("system:kube-proxy", ()),
    "kube-router": ("system:kube-router", ()),
}


def write_credentials(cluster: ClusterLayout) -> None:
    """Write a CA, the servers' certificates, the service account key and a kubeconfig for each client."""
    folder = cluster.folder / "pki"
    authority = Authority(f"{cluster.name}-ca")
    authority.pair.write(folder, "ca")
    Authority(f"{cluster.name}-front-proxy-ca").pair.write(folder, "front-proxy-ca")
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}"]
    addresses = [cluster.address, API_SERVER_SERVICE, "127.0.0.1"]
    authority.issue("kube-apiserver", hosts=[*names, "localhost", *addresses]).write(folder, "apiserver")
    authority.issue("apiserver-kubelet-client", groups=["system:masters"]).write(folder, "apiserver-kubelet-client")
    node, node_hosts = f"system:node:{cluster.name}", [cluster.name, cluster.address]
    authority.issue(node, groups=["system:nodes"], hosts=node_hosts).write(folder, "kubelet")
    write_private(folder / "service-accounts.key", new_private_key()[1])
    for client, (user, groups) in {**_CLIENTS, "kubelet": (node, ("system:nodes",))}.items():
        text = kubeconfig(cluster.server, authority.pair.certificate, authority.issue(user, groups=groups))
        write_private(cluster.folder / f"{client}.kubeconfig", text.encode())


def etcd_argv(programs: Path, cluster: ClusterLayout) -> list[str | Path]:
    """Return etcd's command line, without fsync: a fleet's data need not survive a crash."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return [
        programs / "etcd",
        "--name=fleet",
        f"--data-dir={cluster.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=fleet={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_argv(programs: Path, cluster: ClusterLayout) -> list[str | Path]:
    """Return kube-apiserver's command line."""
    pki = cluster.folder / "pki"
    return [
        programs / "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--secure-port={API_SERVER_PORT}",
        f"--advertise-address={cluster.address}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        # No DNS resolves the node's name; without this `kubectl logs` fails.
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-accounts.key'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=false",
        "--profiling=false",
    ]


def controller_manager_argv(programs: Path, cluster: ClusterLayout) -> list[str | Path]:
    """Return kube-controller-manager's command line."""
    pki = cluster.folder / "pki"
    return [
        programs / "kube-controller-manager",
        f"--kubeconfig={cluster.folder / 'controller-manager.kubeconfig'}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--use-service-account-credentials",
    ]


def scheduler_argv(programs: Path, cluster: ClusterLayout) -> list[str | Path]:
    """Return kube-scheduler's command line."""
    return [
        programs / "kube-scheduler",
        f"--kubeconfig={cluster.folder / 'scheduler.kubeconfig'}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


async def start(programs: Path, cluster: ClusterLayout) -> None:
    """Start the control plane and wait until its API server is ready.

    Raises:
        DaemonDied: a program exited.
        TimeoutError: the API server was not ready in time.
    """
    await asyncio.to_thread(write_credentials, cluster)
    await daemons.start(cluster, "etcd", etcd_argv(programs, cluster))
    await daemons.start(cluster, "kube-apiserver", api_server_argv(programs, cluster))
    await until_ready(programs, cluster)
    await daemons.start(cluster, "kube-controller-manager", controller_manager_argv(programs, cluster))
    await daemons.start(cluster, "kube-scheduler", scheduler_argv(programs, cluster))


async def until_ready(programs: Path, cluster: ClusterLayout) -> None:
    """Wait until the API server is ready.

    Raises:
        TimeoutError: the API server was not ready in time.
    """
    ready = (*kubectl(programs, cluster), "get", "--raw=/readyz")

    async def listening() -> bool:
        daemons.require_alive(cluster, "etcd")
        daemons.require_alive(cluster, "kube-apiserver")
        try:
            _, writer = await asyncio.open_connection(cluster.address, API_SERVER_PORT)
        except OSError:
            return False
        writer.close()
        return True

    # Connecting is much cheaper than running kubectl, and a starting control plane uses all processors for seconds.
    await until(listening, f"the API server of {cluster.name} listens")
    await until(lambda: succeeds(*ready), f"the API server of {cluster.name} is ready")


def kubectl(programs: Path, cluster: ClusterLayout) -> tuple[str | Path, ...]:
    """Return the command that runs kubectl as the cluster's administrator."""
    return (programs / "kubectl", f"--kubeconfig={cluster.kubeconfig}")


async def apply(programs: Path, cluster: ClusterLayout, manifests: str) -> None:
    """Apply YAML or JSON documents, server-side."""
    await run(
        *kubectl(programs, cluster),
        *("apply", "--server-side", "--force-conflicts", "-f", "-"),
        stdin=manifests,
    )
