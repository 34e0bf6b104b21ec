"""A real kube-apiserver, and what it would accept."""
