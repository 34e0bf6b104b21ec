"""One Kubernetes cluster on this machine: its network, control plane and node.

Only `fleet` and its tests import this package, and it imports nothing that knows OCM or a fleet.
"""
