"""The kinds of a collaborator at a site: the resource, and what the agent makes of it."""

from typing import Final

from federation.api.collaborator import Collaborator
from federation.api.meta import FEDERATION_GROUP, FEDERATION_VERSION
from federation.api.site_workloads import CollaboratorPod, SiteJob, SiteNetworkPolicy
from federation.kube.resource import Kind

COLLABORATOR: Final = Kind(
    group=FEDERATION_GROUP,
    version=FEDERATION_VERSION,
    kind="Collaborator",
    plural="collaborators",
    namespaced=True,
    struct=Collaborator,
)
COLLABORATOR_JOB: Final = Kind(group="batch", version="v1", kind="Job", plural="jobs", namespaced=True, struct=SiteJob)
COLLABORATOR_POD: Final = Kind(
    group="", version="v1", kind="Pod", plural="pods", namespaced=True, struct=CollaboratorPod
)
COLLABORATOR_NETWORK_POLICY: Final = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    namespaced=True,
    struct=SiteNetworkPolicy,
)
