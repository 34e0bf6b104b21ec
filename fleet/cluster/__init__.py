"""One Kubernetes cluster on this machine: its network, control plane and node. It imports nothing of OCM or a fleet."""
