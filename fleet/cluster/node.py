"""The node of one cluster: containerd, kubelet, kube-proxy and kube-router, in their own mount namespace.

In that namespace /run and /var/log are folders of the fleet. Files at fixed paths (shim sockets, pods' namespaces, log
links) stay inside, and all mounts vanish with the programs. All configurable paths are set explicitly.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from fleet.cluster import daemons
from fleet.command import run, succeeds
from fleet.layout import CLUSTER_DOMAIN, DNS_SERVICE, NODE_PORTS, POD_RANGE, SERVICE_RANGE, ClusterLayout
from fleet.waiting import until

CNI_PLUGINS: Final = Path("/usr/lib/cni")
_PRIVATE_FOLDERS: Final = {"run": "/run", "log": "/var/log"}


def containerd_config(cluster: ClusterLayout, pause_image: str) -> str:
    """Return the configuration of containerd, as TOML."""
    text = json.dumps  # a JSON string is a TOML basic string
    return f"""
version = 2
root = {text(str(cluster.folder / "containerd"))}
state = {text(str(cluster.folder / "run" / "containerd-state"))}
[grpc]
  address = {text(str(cluster.containerd_socket))}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {text(pause_image)}
  # Without CAP_SYS_RESOURCE, lowering the OOM score fails, and so would every sandbox.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {text(str(CNI_PLUGINS))}
    conf_dir = {text(str(cluster.folder / "cni"))}
"""


def cni_config(cluster: ClusterLayout) -> dict[str, Any]:
    """Return a CNI configuration with one bridge for the pods and masquerading outside the cluster."""
    return {
        "cniVersion": "1.0.0",
        "name": "fleet",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(cluster.folder / "cni-addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet_config(cluster: ClusterLayout) -> dict[str, Any]:
    """Return the KubeletConfiguration: authentication by the API server, and no eviction on a busy machine."""
    pki = cluster.folder / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",  # noqa: S104  within the cluster's own network namespace
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cluster.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(cluster.folder / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{cluster.containerd_socket}",
        "volumePluginDir": str(cluster.folder / "volume-plugins"),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        "registerWithTaints": [],
        "maxPods": 100,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
    }


def kube_proxy_config(cluster: ClusterLayout) -> dict[str, Any]:
    """Return the KubeProxyConfiguration, which leaves the machine's conntrack settings unchanged."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": cluster.name,
        "clientConnection": {"kubeconfig": str(cluster.folder / "kube-proxy.kubeconfig")},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def kube_router_argv(programs: Path, cluster: ClusterLayout) -> list[str | Path]:
    """Return kube-router's command line: it only enforces NetworkPolicies."""
    return [
        programs / "kube-router",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--kubeconfig={cluster.folder / 'kube-router.kubeconfig'}",
        f"--hostname-override={cluster.name}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--service-node-port-range={NODE_PORTS}",
        "--health-port=0",
    ]


def write_configuration(cluster: ClusterLayout, pause_image: str) -> None:
    """Write all configuration of the node's programs, except credentials."""
    folder = cluster.folder
    for name in ("cni", "cni-addresses", "kubelet", "run/netns", "log/pods", "log/containers", "volume-plugins"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "resolv.conf").write_text("")
    (folder / "containerd.toml").write_text(containerd_config(cluster, pause_image))
    (folder / "cni" / "10-fleet.conflist").write_text(json.dumps(cni_config(cluster)))
    (folder / "kubelet.json").write_text(json.dumps(kubelet_config(cluster)))
    (folder / "kube-proxy.json").write_text(json.dumps(kube_proxy_config(cluster)))


async def start_containerd(cluster: ClusterLayout, pause_image: str) -> None:
    """Start containerd in a new mount namespace and wait until it answers.

    Raises:
        TimeoutError: containerd did not answer in time.
    """
    await asyncio.to_thread(write_configuration, cluster, pause_image)
    binds = " && ".join(f'mount --bind "$0/{name}" {path}' for name, path in _PRIVATE_FOLDERS.items())
    prepare = f'mount --make-rshared / && {binds} && exec "$@"'
    wrapper = ("unshare", "--mount", "--propagation", "private", "sh", "-c", prepare, str(cluster.folder))
    await daemons.start(
        cluster, "containerd", ["containerd", "--config", cluster.folder / "containerd.toml"], wrapper=wrapper
    )

    async def answers() -> bool:
        daemons.require_alive(cluster, "containerd")
        return await succeeds(*ctr(cluster), "version")

    await until(answers, f"containerd of {cluster.name} answers")


async def start_kubelet(programs: Path, cluster: ClusterLayout) -> None:
    """Start kubelet and kube-proxy; containerd must be running and the API server ready."""
    kubelet: list[str | Path] = [
        programs / "kubelet",
        f"--config={cluster.folder / 'kubelet.json'}",
        f"--kubeconfig={cluster.folder / 'kubelet.kubeconfig'}",
        f"--root-dir={cluster.folder / 'kubelet'}",
        f"--hostname-override={cluster.name}",
        f"--node-ip={cluster.address}",
    ]
    same_mounts = _mounts_of_containerd(cluster)
    await daemons.start(cluster, "kubelet", kubelet, wrapper=same_mounts)
    proxy: list[str | Path] = [programs / "kube-proxy", f"--config={cluster.folder / 'kube-proxy.json'}"]
    await daemons.start(cluster, "kube-proxy", proxy, wrapper=same_mounts)


async def start_kube_router(programs: Path, cluster: ClusterLayout) -> None:
    """Start kube-router, whose RBAC rules must exist already."""
    words = kube_router_argv(programs, cluster)
    await daemons.start(cluster, "kube-router", words, wrapper=_mounts_of_containerd(cluster))


def _mounts_of_containerd(cluster: ClusterLayout) -> tuple[str, ...]:
    """Return the command prefix that runs a program in the node's mount namespace."""
    containerd = daemons.find(cluster, "containerd")
    if containerd is None:
        raise LookupError(f"{cluster.name} has no containerd: start it first")
    return ("nsenter", f"--mount=/proc/{containerd.pid}/ns/mnt")


def ctr(cluster: ClusterLayout) -> tuple[str, ...]:
    """Return the command that runs containerd's client in the kubelet's namespace."""
    return ("ctr", f"--address={cluster.containerd_socket}", "--namespace=k8s.io")


async def load_image(cluster: ClusterLayout, archive: Path) -> None:
    """Load the image of an archive on the node, under the name in the archive."""
    await run(*ctr(cluster), "images", "import", "--snapshotter=overlayfs", archive, deadline=300)
