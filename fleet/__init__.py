"""Test clusters on one Linux machine: a hub and its spokes, joined by Open Cluster Management (OCM).

Each cluster is a network namespace with its own etcd, kube-apiserver, controller manager, scheduler, containerd,
kubelet, kube-proxy and kube-router; OCM's operators run in it as pods.

Only `demo`, `bench` and `tests` import this package, and it imports nothing of the product.
"""
