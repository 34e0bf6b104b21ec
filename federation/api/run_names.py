"""What the objects of a run are called, and by which labels they are found: for whoever makes them, and whoever looks.

Names in the run's own namespace are the existing controller's (`RUN-server`); no two runs share a namespace and a name.
In a cluster's namespace the runs of every namespace meet, so a work's name ends in a digest of the run's uid, which is
as unique as the server makes it: two runs of one name, or a run and the one that it replaced, never meet.
"""

import hashlib
from typing import Final

from federation.api.federated_learning import FederatedLearning
from federation.api.meta import FEDERATION_GROUP

RUN_UID_LABEL: Final = f"{FEDERATION_GROUP}/run-uid"
RUN_LABEL: Final = f"{FEDERATION_GROUP}/run"
"""On pods, Services and works: the run's name, for people."""
ATTEMPT_LABEL: Final = f"{FEDERATION_GROUP}/attempt"
AGGREGATOR_CONTAINER: Final = "aggregator"
WORKSPACE_CONTAINER: Final = "workspace"
"""The init container of the aggregator's pod, of the user's image."""
FS_GROUP: Final = 65532
"""The group that a run's volume is given to, where the cluster gives none: that of the aggregator's image."""


def server_name(run: FederatedLearning, index: int = 0) -> str:
    """The name of the aggregator's objects; listeners after the first have their place in it."""
    return f"{run.metadata.name}-server" + (f"-{index}" if index else "")


def work_name(run: FederatedLearning, attempt: int) -> str:
    """The name of the attempt's work in every cluster's namespace, and of its Collaborator there; a DNS label.

    Another attempt has another name: what a site says of the earlier one can't be taken for an answer to this one.
    """
    digest = hashlib.sha256(f"{run.metadata.uid}/{attempt}".encode()).hexdigest()[:12]
    return f"fl-{run.metadata.name[:40].rstrip('-')}-{digest}"


def run_id(run: FederatedLearning, attempt: int) -> str:
    """What names this attempt at the run in every call of the exchange."""
    return f"{run.metadata.uid}-{attempt}"
