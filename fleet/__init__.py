"""A fleet of real clusters on one Linux machine: a hub and its spokes, joined by real Open Cluster Management.

Each cluster is a network namespace with an etcd, a kube-apiserver, a controller manager, a scheduler, a containerd, a
kubelet, a kube-proxy and a kube-router of its own; OCM's operators run in it as pods. The demo and the tests run on it.
It knows nothing of the product that is tried on it.
"""
