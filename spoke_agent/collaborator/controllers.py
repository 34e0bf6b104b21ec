"""Reflectors and controller of the site's Collaborators.

All objects are in the install namespace. The Job and the NetworkPolicy of a Collaborator have its name, so an object of
that name enqueues the Collaborator whatever its owner. A pod maps to its Collaborator by label, and a Dataset to all
Collaborators that name it.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from federation.api.collaborator import COLLABORATOR_LABEL, Collaborator
from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import CollaboratorPod, SiteJob, SiteNetworkPolicy
from federation.kube.api import Api
from federation.kube.controller import Controller, Source
from federation.kube.kinds import COLLABORATOR, COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY, COLLABORATOR_POD
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, Resource, key_of
from spoke_agent.collaborator.planning.job import AgentLocation
from spoke_agent.collaborator.reconciler import CollaboratorReconciler, CollaboratorView
from spoke_agent.metrics import AgentMetrics

_BY_DATASET = "dataset"
_BY_COLLABORATOR = "collaborator"


@dataclass(frozen=True, slots=True)
class CollaboratorParts:
    """Reflectors and controller for the agent to run."""

    reflectors: tuple[Reflector[Any], ...]
    """All but the reflector of Datasets, which the agent runs itself."""
    controller: Controller


@dataclass(frozen=True, slots=True)
class _Watched:
    """Reflectors that only the collaborators' controller needs."""

    collaborators: Reflector[Collaborator]
    jobs: Reflector[SiteJob]
    policies: Reflector[SiteNetworkPolicy]
    pods: Reflector[CollaboratorPod]


def collaborator_parts(
    spoke: Api,
    site: AgentLocation,
    datasets: Reflector[Dataset],
    *,
    now: Callable[[], datetime],
    metrics: AgentMetrics,
    monotonic: Callable[[], float] = time.monotonic,
) -> CollaboratorParts:
    """Build the reflectors and the controller for `spoke_agent.app` to run.

    Args:
        spoke: The site's API server.
        site: The cluster and the install namespace.
        datasets: The reflector of Datasets, which the claims' controller reads too.
        now: The clock of conditions and expiry.
        metrics: The agent's metrics.
        monotonic: The clock of the reflectors.
    """
    watched = _watch(spoke, site, monotonic)
    view = _view(watched, datasets)
    reconciler = CollaboratorReconciler(spoke, view, site, now=now, metrics=metrics)
    controller = Controller("collaborators", reconciler.reconcile, _sources(watched, datasets))
    return CollaboratorParts((watched.collaborators, watched.jobs, watched.policies, watched.pods), controller)


def _watch(spoke: Api, site: AgentLocation, monotonic: Callable[[], float]) -> _Watched:
    return _Watched(
        collaborators=Reflector(
            spoke, COLLABORATOR, namespace=site.namespace, clock=monotonic, indexes={_BY_DATASET: _dataset_of}
        ),
        jobs=Reflector(spoke, COLLABORATOR_JOB, namespace=site.namespace, clock=monotonic),
        policies=Reflector(spoke, COLLABORATOR_NETWORK_POLICY, namespace=site.namespace, clock=monotonic),
        pods=Reflector(
            spoke,
            COLLABORATOR_POD,
            namespace=site.namespace,
            label_selector=COLLABORATOR_LABEL,
            clock=monotonic,
            indexes={_BY_COLLABORATOR: _collaborator_of},
        ),
    )


def _view(watched: _Watched, datasets: Reflector[Dataset]) -> CollaboratorView:
    return CollaboratorView(
        collaborators=watched.collaborators.store.values,
        collaborator=watched.collaborators.store.find,
        dataset=datasets.store.find,
        job=watched.jobs.store.find,
        network_policy=watched.policies.store.find,
        pods=lambda key: watched.pods.store.by_index(_BY_COLLABORATOR, key.name),
    )


def _sources(watched: _Watched, datasets: Reflector[Dataset]) -> Sequence[Source[Any]]:
    def asking_for(dataset: Dataset) -> Iterable[ObjectKey]:
        return map(key_of, watched.collaborators.store.by_index(_BY_DATASET, dataset.metadata.name))

    return (
        Source(watched.collaborators, _own),
        Source(datasets, asking_for),
        Source(watched.jobs, _own),
        Source(watched.policies, _own),
        Source(watched.pods, _of_label),
    )


def _own(resource: Resource) -> tuple[ObjectKey, ...]:
    return (key_of(resource),)


def _of_label(resource: Resource) -> tuple[ObjectKey, ...]:
    return tuple(ObjectKey(resource.metadata.namespace, name) for name in _collaborator_of(resource))


def _dataset_of(collaborator: Collaborator) -> tuple[str, ...]:
    return (collaborator.spec.dataset,)


def _collaborator_of(resource: Resource) -> tuple[str, ...]:
    name = resource.metadata.labels.get(COLLABORATOR_LABEL)
    return () if name is None else (name,)
