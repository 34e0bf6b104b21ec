"""Makes each Collaborator's Job, NetworkPolicy and status what `plan` and `report` say: the shell around them.

Reads come from what the reflectors have seen; each deletion is guarded by the uid it was planned for, and a creation
fails where something has appeared since. Whatever happened in between so brings another look.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

import msgspec
import structlog

from federation.api.collaborator import (
    ACCEPTED,
    FINISHED,
    RUNNING,
    Collaborator,
    CollaboratorState,
    CollaboratorStatus,
)
from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import CollaboratorPod, SiteJob, SiteNetworkPolicy
from federation.kube.api import Api
from federation.kube.errors import AlreadyExists, Conflict, Denied, Invalid, NotFound
from federation.kube.kinds import COLLABORATOR, COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY
from federation.kube.resource import ObjectKey
from spoke_agent.claims.reconciler import FIELD_MANAGER
from spoke_agent.collaborator.job import Site
from spoke_agent.collaborator.plan import (
    Action,
    ApplyNetworkPolicy,
    CreateJob,
    DeleteJob,
    DeleteNetworkPolicy,
    Observed,
    plan,
)
from spoke_agent.collaborator.status import Reason, Trouble, report
from spoke_agent.metrics import AgentMetrics

LOOK_AGAIN: Final = 2.0
"""Seconds after which to look again when the cluster turned out newer than what the reflectors had shown."""
REFUSED_AGAIN: Final = 30.0
"""Seconds after which to try again what the API server refused: quotas and rights change, and no watch tells of it."""
_OURS: Final = frozenset({ACCEPTED, RUNNING, FINISHED})

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


class CollaboratorReconciler:
    """Keeps Collaborators as planned."""

    def __init__(
        self, api: Api, view: CollaboratorView, site: Site, *, now: Callable[[], datetime], metrics: AgentMetrics
    ) -> None:
        self._api = api
        self._view = view
        self._site = site
        self._now = now
        self._metrics = metrics

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Looks at one Collaborator and does what is due; returns the seconds after which time alone asks for more.

        One that is gone, or going, needs nothing: it owns what was made for it, and garbage collection takes that.

        Raises:
            KubeError: A call failed that may succeed later; what was written before stays, and the next look takes it
                from there.
        """
        self._count()
        collaborator = self._view.collaborator(key)
        if collaborator is None or collaborator.metadata.deleting:
            return None
        now = self._now()
        observed = self._observe(key, collaborator)
        due = plan(observed, self._site, now)
        fresh, trouble = await self._do(due.actions, key)
        trouble = due.trouble or trouble
        status = report(collaborator, due.verdict, due.job, due.pods, now, dataset=observed.dataset, trouble=trouble)
        if status != collaborator.status:
            await self._write_status(key, status)
        if not fresh:
            return LOOK_AGAIN
        if trouble is not None and trouble.reason is Reason.JOB_REFUSED:
            return REFUSED_AGAIN
        return None if due.due is None else max(0.0, (due.due - now).total_seconds())

    def _observe(self, key: ObjectKey, collaborator: Collaborator) -> Observed:
        return Observed(
            collaborator=collaborator,
            dataset=self._view.dataset(ObjectKey(key.namespace, collaborator.spec.dataset)),
            job=self._view.job(key),
            network_policy=self._view.network_policy(key),
            pods=tuple(self._view.pods(key)),
        )

    async def _do(self, actions: Iterable[Action], key: ObjectKey) -> tuple[bool, Trouble | None]:
        """Does it in order; whether the site was what was planned for, and what the API server refused."""
        for action in actions:
            try:
                await self._act(action, key)
            except (AlreadyExists, Conflict):
                return False, None
            except (Denied, Invalid) as error:
                _log.warning("collaborator_action_refused", collaborator=key.name, action=_name(action), exc_info=True)
                return True, Trouble(Reason.JOB_REFUSED, f"the site's API server refused it: {error}")
            self._metrics.collaborator_actions.labels(_name(action)).inc()
            _log.info("collaborator_action_done", collaborator=key.name, action=_name(action))
        return True, None

    async def _act(self, action: Action, key: ObjectKey) -> None:
        match action:
            case ApplyNetworkPolicy(body):
                await self._api.apply(COLLABORATOR_NETWORK_POLICY, key, body, field_manager=FIELD_MANAGER)
            case CreateJob(body):
                await self._api.create(COLLABORATOR_JOB, body, namespace=key.namespace)
            case DeleteJob(uid):
                await self._api.delete(COLLABORATOR_JOB, key, uid=uid, propagation="Foreground")
            case DeleteNetworkPolicy(uid):
                await self._api.delete(COLLABORATOR_NETWORK_POLICY, key, uid=uid)
            case _:
                assert_never(action)

    async def _write_status(self, key: ObjectKey, status: CollaboratorStatus) -> None:
        ours = tuple(condition for condition in status.conditions if condition.type in _OURS)
        body = {
            "apiVersion": COLLABORATOR.api_version,
            "kind": COLLABORATOR.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": msgspec.to_builtins(msgspec.structs.replace(status, conditions=ours)),
        }
        try:
            await self._api.apply(COLLABORATOR, key, body, field_manager=FIELD_MANAGER, subresource="status")
        except NotFound:
            return  # It went while it was judged; nobody is left to read the status.
        _log.info("collaborator_reported", collaborator=key.name, state=status.state, reason=status.reason)

    def _count(self) -> None:
        states = Counter(each.status.state for each in self._view.collaborators())
        for state in CollaboratorState:
            self._metrics.collaborators.labels(state.value).set(states[state.value])


def _name(action: Action) -> str:
    return type(action).__name__
