"""The three resources: the type of each, its CRD, and who writes it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from federation.api.collaborator import Collaborator
from federation.api.dataset import Dataset
from federation.api.federated_learning import FederatedLearning
from hub_manager.federated_learning.planning.conditions import HUB_MANAGERS_OWN
from hub_manager.federated_learning.planning.reconcile_plan import AGGREGATORS_OWN
from reference.fields import Field, fields_of

REPOSITORY: Final = Path(__file__).parent.parent


@dataclass(frozen=True)
class Documented:
    """One resource."""

    kind: type[msgspec.Struct]
    crd: Path
    where: str
    """On which cluster it is, and whose it is; one sentence."""
    status_writer: Callable[[Field], str]
    """Who writes a field of the status."""

    @cached_property
    def definition(self) -> dict[str, Any]:
        """The CRD."""
        found: dict[str, Any] = yaml.safe_load(self.crd.read_text(encoding="utf-8"))
        return found

    @property
    def schema(self) -> dict[str, Any]:
        """The CRD's schema."""
        found: dict[str, Any] = self.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        return found

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Every field of spec and status."""
        return fields_of(self.kind, self.schema)


def writer_in_run(field: Field) -> str:
    """Who writes a field of a FederatedLearning's status.

    Raises:
        LookupError: The code doesn't say.
    """
    name, _, inner = field.path.removeprefix("status.").partition(".")
    own = {_camel(each) for each in HUB_MANAGERS_OWN}
    if name == "clusters[]":
        # The aggregator's own of a cluster; what the hub manager applies is `status._cluster_json`.
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
        FederatedLearning,
        REPOSITORY / "manifests/crds/federatedlearnings.yaml",
        "On the hub, in a namespace of its user; short name `fl`. How to use it: [runs.md](../runs.md).",
        writer_in_run,
    ),
    Documented(
        Dataset,
        REPOSITORY / "addon-templates/crds/datasets.yaml",
        "On a spoke, in the add-on's install namespace, by the site. How to use it: [datasets.md](../datasets.md).",
        _agent,
    ),
    Documented(
        Collaborator,
        REPOSITORY / "addon-templates/crds/collaborators.yaml",
        "On a spoke, in the add-on's install namespace: the hub writes the spec by a ManifestWork, the site's agent "
        "the status. What it means: [collaborators.md](../collaborators.md).",
        _agent,
    ),
)
