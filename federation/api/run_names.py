"""Names and labels of a run's objects.

Names in the run's namespace are those of the existing controller (`RUN-server`). A cluster's namespace has works of
runs from all namespaces, so a work's name ends in a digest of the run's UID. Runs with equal names, also after a run
was replaced, have different works.
"""

import hashlib
from typing import Final

from federation.api.federated_learning import FederatedLearning
from federation.api.meta import FEDERATION_GROUP

RUN_UID_LABEL: Final = f"{FEDERATION_GROUP}/run-uid"
RUN_LABEL: Final = f"{FEDERATION_GROUP}/run"
"""The run's name, on pods, Services and works; informational."""
ATTEMPT_LABEL: Final = f"{FEDERATION_GROUP}/attempt"
AGGREGATOR_CONTAINER: Final = "aggregator"
WORKSPACE_CONTAINER: Final = "workspace"
"""The init container of the aggregator's pod, with the user's image."""
FS_GROUP: Final = 65532
"""The default group of a run's volume: the group of the aggregator's image."""


def server_name(run: FederatedLearning, index: int = 0) -> str:
    """Return the name of the aggregator's objects; listeners after the first append their index."""
    return f"{run.metadata.name}-server" + (f"-{index}" if index else "")


def work_name(run: FederatedLearning, attempt: int) -> str:
    """Return the name of the attempt's ManifestWorks and Collaborators; a DNS label.

    Each attempt has another name, so a site's report on an earlier attempt is never mistaken for one on this attempt.
    """
    digest = hashlib.sha256(f"{run.metadata.uid}/{attempt}".encode()).hexdigest()[:12]
    return f"fl-{run.metadata.name[:40].rstrip('-')}-{digest}"


def run_id(run: FederatedLearning, attempt: int) -> str:
    """Return the run ID that every call of the exchange contains."""
    return f"{run.metadata.uid}-{attempt}"
