"""Settings of the hub manager that apply to every run: limits, images and names."""

from dataclasses import dataclass, field

from federation.api.run_names import FS_GROUP


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Resources that the hub's administrator allows runs to use, as patterns; `*` matches any characters."""

    host_paths: tuple[str, ...] = ()
    """Folders of the hub's nodes. Empty by default, because every user who can create a run could write to them."""
    cluster_sets: tuple[str, ...] = ("global",)
    """Cluster sets to which the hub manager binds a run's namespace on request; administrators bind all others."""


@dataclass(frozen=True, slots=True)
class RunImages:
    """Image and volume group of the aggregator's pod."""

    aggregator: str
    fs_group: int | None = FS_GROUP
    """Group that owns the volume; None if the cluster assigns one, as OpenShift does."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings for every run."""

    images: RunImages
    limits: RunLimits = field(default_factory=RunLimits)
