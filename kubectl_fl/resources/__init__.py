"""The Kubernetes objects that kubectl returns and creates, as values."""
