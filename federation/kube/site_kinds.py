"""The kinds that the spoke agent reads and writes in its own cluster."""

from typing import Final

from federation.api.capacity import Node, Pod
from federation.api.dataset import Dataset
from federation.api.meta import FEDERATION_GROUP, FEDERATION_VERSION
from federation.kube.resource import Kind

DATASET: Final = Kind(
    group=FEDERATION_GROUP,
    version=FEDERATION_VERSION,
    kind="Dataset",
    plural="datasets",
    namespaced=True,
    struct=Dataset,
)
NODE_CAPACITY: Final = Kind(group="", version="v1", kind="Node", plural="nodes", namespaced=False, struct=Node)
POD_REQUESTS: Final = Kind(group="", version="v1", kind="Pod", plural="pods", namespaced=True, struct=Pod)
