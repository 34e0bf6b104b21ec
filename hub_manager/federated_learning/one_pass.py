"""One pass over one run, in the making."""

from dataclasses import dataclass, field
from datetime import datetime

from federation.api.collaborator import RunPlan
from federation.api.run_status import ClusterStatus, FederatedLearningStatus, ListenerStatus
from hub_manager.federated_learning.actions import Action
from hub_manager.federated_learning.observed import Observed, RunSettings
from hub_manager.federated_learning.plans import Known, Planned
from hub_manager.federated_learning.status import Told
from hub_manager.federated_learning.validate import Fault, faults


@dataclass(slots=True)
class Pass:
    """What the stages add to: what they find, and what is to be done."""

    observed: Observed
    settings: RunSettings
    attempt: FederatedLearningStatus
    told: Told
    planned: Planned
    """By which plan the attempt goes."""
    clusters: tuple[ClusterStatus, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    ready: int = 0
    actions: list[Action] = field(default_factory=list)
    due: list[datetime] = field(default_factory=list)

    @property
    def plan(self) -> RunPlan | None:
        """What sites are told of the plan; None is the image's own."""
        return self.planned.plan if isinstance(self.planned, Known) else None

    @property
    def unfit(self) -> Fault | None:
        """Why no aggregator is made of this spec; a recorded cohort doesn't prove that the spec has been judged."""
        found = faults(self.observed.run, self.settings.limits)
        return self.planned if isinstance(self.planned, Fault) else next(iter(found), None)
