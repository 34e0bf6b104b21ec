"""Perform each Collaborator's plan: its NetworkPolicy, its Job and its status.

The reconciler reads from the reflectors' stores. Each deletion names the uid that it was planned for, and a creation
fails if an object of the name exists, so an outdated store causes another pass and never a wrong write.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog

from federation.api.collaborator import Collaborator, CollaboratorState
from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import CollaboratorPod, SiteJob, SiteNetworkPolicy
from federation.kube.actions import ActionExecutor, Apply, Patch
from federation.kube.api import Api
from federation.kube.errors import AlreadyExists, Conflict, Denied, Invalid, NotFound
from federation.kube.resource import ObjectKey
from spoke_agent.claims.reconciler import FIELD_MANAGER
from spoke_agent.collaborator.planning.job import AgentLocation
from spoke_agent.collaborator.planning.plan import CollaboratorAction, ObservedCollaborator, plan
from spoke_agent.metrics import AgentMetrics

STALE_RETRY: Final = 2.0
"""Seconds until the next pass if the API server had a newer state than the stores."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CollaboratorView:
    """Where the newest of each kind that was seen can be read."""

    collaborators: Callable[[], Iterable[Collaborator]]
    collaborator: Callable[[ObjectKey], Collaborator | None]
    dataset: Callable[[ObjectKey], Dataset | None]
    job: Callable[[ObjectKey], SiteJob | None]
    network_policy: Callable[[ObjectKey], SiteNetworkPolicy | None]
    pods: Callable[[ObjectKey], Iterable[CollaboratorPod]]
    """The pods that carry the Collaborator's label."""


class _Stale:
    """An action met a newer state than the observed one."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """The API server refused an action."""

    message: str


class CollaboratorReconciler:
    """Keeps Collaborators as planned."""

    def __init__(
        self,
        api: Api,
        view: CollaboratorView,
        site: AgentLocation,
        *,
        now: Callable[[], datetime],
        metrics: AgentMetrics,
    ) -> None:
        self._executor = ActionExecutor(api, FIELD_MANAGER)
        self._view = view
        self._site = site
        self._now = now
        self._metrics = metrics

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Perform the plan for one Collaborator and return the seconds until the next pass; None if none is due.

        A Collaborator that is missing or being deleted needs no action: garbage collection removes what it owns.

        Raises:
            KubeError: A call failed that may succeed later; the next pass continues from the writes that succeeded.
        """
        self._count()
        collaborator = self._view.collaborator(key)
        if collaborator is None or collaborator.metadata.deleting:
            return None
        now = self._now()
        observed = self._observe(key, collaborator)
        planned = plan(observed, self._site, now)
        log = _log.bind(collaborator=key.name)
        outcome = await self._perform(planned.actions, log)
        if isinstance(outcome, _Refused):
            planned = plan(replace(observed, refusal=outcome.message), self._site, now)
        if planned.status is not None:
            await self._write_status(planned.status, log)
        return STALE_RETRY if isinstance(outcome, _Stale) else planned.requeue_after

    def _observe(self, key: ObjectKey, collaborator: Collaborator) -> ObservedCollaborator:
        return ObservedCollaborator(
            collaborator=collaborator,
            dataset=self._view.dataset(ObjectKey(key.namespace, collaborator.spec.dataset)),
            job=self._view.job(key),
            network_policy=self._view.network_policy(key),
            pods=tuple(self._view.pods(key)),
        )

    async def _perform(
        self, actions: Iterable[CollaboratorAction], log: structlog.stdlib.BoundLogger
    ) -> _Stale | _Refused | None:
        """Perform the actions in order, up to the first that fails; return why it failed, or None if none did."""
        for action in actions:
            name = f"{type(action).__name__}{action.kind.kind}"
            try:
                await self._executor.perform(action, log)
            except (AlreadyExists, Conflict):
                return _Stale()
            except (Denied, Invalid) as error:
                log.warning("collaborator_action_refused", action=name, exc_info=True)
                return _Refused(str(error))
            self._metrics.collaborator_actions.labels(name).inc()
            log.info("collaborator_action_done", action=name)
        return None

    async def _write_status(self, write: Apply | Patch, log: structlog.stdlib.BoundLogger) -> None:
        try:
            await self._executor.perform(write, log)
        except NotFound:
            return  # The Collaborator was deleted meanwhile; its status has no reader.
        status = (write.body if isinstance(write, Apply) else write.patch)["status"]
        log.info("collaborator_reported", state=status["state"], reason=status["reason"])

    def _count(self) -> None:
        states = Counter(each.status.state for each in self._view.collaborators())
        for state in CollaboratorState:
            self._metrics.collaborators.labels(state.value).set(states[state.value])
