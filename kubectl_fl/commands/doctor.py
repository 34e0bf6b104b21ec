"""Read the hub once for the checks; an unreadable object is recorded and does not stop the others."""

from collections.abc import Callable
from typing import TypeVar

from federation.api.federated_learning import FederatedLearning
from federation.api.identity import ADDON_NAME
from federation.api.kubernetes.run_objects import PLACEMENT_LABEL, PlacementDecision
from federation.api.run_names import ATTEMPT_LABEL, RUN_UID_LABEL
from federation.kube.kinds import (
    MANAGED_CLUSTER,
    MANAGED_CLUSTER_ADD_ON,
    MANAGED_CLUSTER_SET_BINDING,
    MANIFEST_WORK,
    PERSISTENT_VOLUME_CLAIM,
    PLACEMENT,
    PLACEMENT_DECISION,
)
from kubectl_fl.doctor.findings import RunObservation, Unreadable
from kubectl_fl.errors import CommandError
from kubectl_fl.kubectl import Kubectl
from kubectl_fl.resources.pods import RUN_POD

V = TypeVar("V")


def observe(hub: Kubectl, run: FederatedLearning) -> RunObservation:
    """Return the objects on the hub that concern the run."""
    namespace, name = run.metadata.namespace, run.metadata.name
    attempt = {RUN_UID_LABEL: run.metadata.uid, ATTEMPT_LABEL: str(run.status.attempt)}
    addons = _read(lambda: hub.select(MANAGED_CLUSTER_ADD_ON, everywhere=True))
    decisions = _read(
        lambda: hub.select(PLACEMENT_DECISION, namespace=namespace, labels={PLACEMENT_LABEL: name}),
    )
    storage = run.spec.server.storage
    return RunObservation(
        run=run,
        bindings=_read(lambda: hub.select(MANAGED_CLUSTER_SET_BINDING, namespace=namespace)),
        placement=_read(lambda: hub.find(PLACEMENT, name, namespace)),
        selected=decisions if isinstance(decisions, Unreadable) else _selected(decisions),
        clusters=_read(lambda: hub.select(MANAGED_CLUSTER)),
        addons=addons if isinstance(addons, Unreadable) else tuple(a for a in addons if a.metadata.name == ADDON_NAME),
        works=_read(lambda: hub.select(MANIFEST_WORK, everywhere=True, labels=attempt)),
        pods=_read(lambda: hub.select(RUN_POD, namespace=namespace, labels=attempt)),
        claim=_read(lambda: hub.find(PERSISTENT_VOLUME_CLAIM, storage.name, namespace)) if storage.name else None,
    )


def _read(reading: Callable[[], V]) -> V | Unreadable:
    try:
        return reading()
    except CommandError as failure:
        return Unreadable(str(failure))


def _selected(decisions: tuple[PlacementDecision, ...]) -> tuple[str, ...]:
    names = {decided.cluster_name for decision in decisions for decided in decision.status.decisions}
    return tuple(sorted(names - {""}))
