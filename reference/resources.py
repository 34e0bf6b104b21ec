"""The three resources: the kind of each, its CRD, and the owners of its status."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from federation.kube.kinds import COLLABORATOR, DATASET, FEDERATED_LEARNING
from federation.kube.resource import Json, Kind
from hub_manager.federated_learning.planning.conditions import HUB_MANAGERS_OWN
from hub_manager.federated_learning.planning.reconcile_plan import AGGREGATORS_OWN
from reference.crd import definition_of, text_of
from reference.fields import Field, fields_of

REPOSITORY: Final = Path(__file__).parent.parent


@dataclass(frozen=True)
class Documented:
    """One resource."""

    kind: Kind[Any]
    crd: Path
    where: str
    """The clusters on which it exists and its author; a sentence or two."""
    status_owner: Callable[[Field], str]
    """Returns the writer of a field of the status."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Annotations of the CRD."""

    @cached_property
    def definition(self) -> Json:
        """The CRD."""
        return definition_of(self.kind, self.annotations)

    @property
    def text(self) -> str:
        """The content of the CRD's file."""
        module = inspect.getsourcefile(self.kind.struct)
        return text_of(self.definition, str(Path(module or "").relative_to(REPOSITORY)))

    @property
    def schema(self) -> Json:
        """The CRD's schema."""
        found: Json = self.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        return found

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Every field of spec and status."""
        return fields_of(self.kind.struct, self.schema)


def owner_in_run(field: Field) -> str:
    """Return the writer of a field of a FederatedLearning's status.

    Raises:
        LookupError: Neither the hub manager nor the aggregator owns it.
    """
    name, _, inner = field.path.removeprefix("status.").partition(".")
    own = {_camel(each) for each in HUB_MANAGERS_OWN}
    if name == "clusters[]":
        # The hub manager's fields of a cluster are those of `status._cluster_json`.
        return "aggregator" if inner in {"round", "samples", "lastSeen"} else "hub manager"
    if name.removesuffix("[]") in own:
        return "hub manager"
    if name.removesuffix("[]") in AGGREGATORS_OWN:
        return "aggregator"
    if name in {"status", "clusters"}:
        return "both"
    raise LookupError(f"{field.path}: neither the hub manager nor the aggregator writes it")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _agent(_: Field) -> str:
    return "agent"


RESOURCES: Final = (
    Documented(
        FEDERATED_LEARNING,
        REPOSITORY / "manifests/crds/federatedlearnings.yaml",
        "Created by users on the hub, in a namespace of theirs; short name `fl`. Guide: [runs.md](../runs.md).",
        owner_in_run,
        # Helm then keeps the CRD on uninstall; deleting it would delete every run.
        {"helm.sh/resource-policy": "keep"},
    ),
    Documented(
        DATASET,
        REPOSITORY / "addon-templates/crds/datasets.yaml",
        "Created by the site's administrator on the spoke, in the add-on's install namespace. Guide: "
        "[datasets.md](../datasets.md).",
        _agent,
    ),
    Documented(
        COLLABORATOR,
        REPOSITORY / "addon-templates/crds/collaborators.yaml",
        "On the spoke, in the add-on's install namespace: the hub writes the spec through a ManifestWork, the site's "
        "agent the status. Guide: [collaborators.md](../collaborators.md).",
        _agent,
    ),
)
