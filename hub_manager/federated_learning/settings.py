"""Settings of the hub manager that apply to every run: limits, images and names."""

from dataclasses import dataclass, field

from federation.api.run_names import FS_GROUP


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What the hub's administrator allows runs to use; patterns in which `*` stands for any characters."""

    host_paths: tuple[str, ...] = ()
    """Folders of the hub's nodes. None by default: whoever may make a run could otherwise read and write there."""
    cluster_sets: tuple[str, ...] = ("global",)
    """The sets that a run's namespace is bound to when it asks. Others are bound by who has the right to."""


@dataclass(frozen=True, slots=True)
class RunImages:
    """What the aggregator's pod is made of, beside what the run says."""

    aggregator: str
    fs_group: int | None = FS_GROUP
    """The group that a volume is given to; None where the cluster gives one, as OpenShift does."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What is the same for every run."""

    images: RunImages
    limits: RunLimits = field(default_factory=RunLimits)
