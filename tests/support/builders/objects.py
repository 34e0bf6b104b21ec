"""Builders of built-in objects, as JSON."""

from federation.kube.resource import Json


def config_map(name: str, namespace: str = "default", *, labels: dict[str, str] | None = None, **data: str) -> Json:
    """A ConfigMap as a client would send it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})},
        "data": data,
    }


def deployment(namespace: str) -> Json:
    """A Deployment of one container, named `a`."""
    labels = {"app": "a"}
    pod = {"containers": [{"name": "a", "image": "example.com/a:1"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
