"""List every setting of an OpenFL 1.9 plan as used, replaced by the product, or rejected.

The names are those of the constructors that `openfl.federated.plan.Plan` calls. Settings of the data loader and of the
task runner are the user's own and pass through.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Section = Mapping[str, Any]


class PlanRefusalReason(StrEnum):
    """Why a plan can't be run."""

    MALFORMED = "PlanMalformed"
    """A part of the plan is missing or has the wrong type."""
    UNSUPPORTED = "PlanUnsupported"
    """The plan uses a feature of OpenFL that the product does not support."""


@dataclass(frozen=True, slots=True)
class PlanRefusal:
    """Setting of a plan that prevents the run, with the remedy."""

    reason: PlanRefusalReason
    setting: str
    """Its path in the plan, for example `aggregator.settings.secure_aggregation`."""
    remedy: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class _Known:
    """Settings that a section may have, in addition to its template.

    Args:
        used: Settings with the same meaning as in OpenFL.
        replaced: Settings without effect, because the product implements their feature differently.
        refused: Settings that must be off or empty, each with the remedy.
        classes: OpenFL's classes that the template may name; empty for any.
    """

    used: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    refused: Mapping[str, str] | None = None
    classes: frozenset[str] = frozenset()
    remedy: str = ""


_NO_CALLBACKS: Final = "the aggregator runs no user code, and a collaborator has no callbacks: remove it"
_NO_SECAGG: Final = (
    "OpenFL's secure aggregation sends each mask's seed to the aggregator, so it protects no update: remove it"
)
NO_BRIDGE: Final = "OpenFL's bridge to Flower is not supported: remove it, and train in your own task runner"
_OWN_SECTIONS: Final = ("data_loader", "task_runner")
REQUIRED: Final = ("aggregator", "assigner", "data_loader", "task_runner", "tasks")
_KNOWN: Final[Mapping[str, _Known]] = {
    "aggregator": _Known(
        used=frozenset({"rounds_to_train", "init_state_path"}),
        replaced=frozenset(
            {
                "best_state_path",
                "last_state_path",
                "db_store_rounds",
                "persist_checkpoint",
                "persistent_db_path",
                "write_logs",
                "log_memory_usage",
                "use_delta_updates",
            }
        ),
        refused={
            "secure_aggregation": _NO_SECAGG,
            "single_col_cert_common_name": "every site has its own certificate: remove it",
            "save_native_model": "the aggregator runs no code of the workspace: remove it, the model is safetensors",
            "callbacks": _NO_CALLBACKS,
        },
        classes=frozenset({"Aggregator"}),
        remedy="use openfl.component.Aggregator",
    ),
    "collaborator": _Known(
        used=frozenset({"opt_treatment", "db_store_rounds"}),
        replaced=frozenset({"use_delta_updates", "device_assignment_policy", "log_memory_usage", "write_logs"}),
        refused={
            "secure_aggregation": _NO_SECAGG,
            "interop_mode": NO_BRIDGE,
            "callbacks": _NO_CALLBACKS,
        },
        classes=frozenset({"Collaborator"}),
        remedy="use openfl.component.Collaborator",
    ),
    "assigner": _Known(
        used=frozenset({"task_groups", "selected_task_group"}),
        classes=frozenset({"RandomGroupedAssigner"}),
        remedy=(
            "use openfl.component.RandomGroupedAssigner with one group of percentage 1.0: the run's placement selects "
            "the clusters"
        ),
    ),
    "compression_pipeline": _Known(
        classes=frozenset({"NoCompressionPipeline"}),
        remedy="lossy compression is not supported: use openfl.pipelines.NoCompressionPipeline",
    ),
    "straggler_handling_policy": _Known(
        classes=frozenset({"WaitForAllPolicy"}),
        remedy="remove it, and set spec.server.roundTimeoutSeconds and spec.server.minClientsPerRound",
    ),
    "network": _Known(
        replaced=frozenset(
            {
                "agg_addr",
                "agg_port",
                "hash_salt",
                "use_tls",
                "client_reconnect_interval",
                "require_client_auth",
                "cert_folder",
                "enable_atomic_connections",
                "transport_protocol",
            }
        ),
    ),
}
"""The product replaces all of `network` with mutual TLS and certificates from the hub, even if `use_tls` is false."""

TREATMENTS: Final = ("RESET", "CONTINUE_LOCAL")


def refusals_of(plan: Section) -> Iterator[PlanRefusal]:
    """Yield the invalid and unsupported sections, templates and settings; `plan_export` checks tasks and groups."""
    for name in REQUIRED:
        if name not in plan:
            yield PlanRefusal(PlanRefusalReason.MALFORMED, name, "write this section")
    for name, section in plan.items():
        if name in _OWN_SECTIONS:
            if not _is_class_path(section.get("template")):
                yield PlanRefusal(
                    PlanRefusalReason.MALFORMED, f"{name}.template", "name your class, as src.module.Class"
                )
        elif name == "connector":
            yield PlanRefusal(PlanRefusalReason.UNSUPPORTED, name, NO_BRIDGE)
        elif name in _KNOWN:
            yield from _of_section(name, section, _KNOWN[name])
        elif name != "tasks":
            yield PlanRefusal(PlanRefusalReason.MALFORMED, name, "OpenFL 1.9 has no such section: remove it")
    treatment = settings_of(plan, "collaborator").get("opt_treatment", "RESET")
    if treatment not in TREATMENTS:
        yield PlanRefusal(
            PlanRefusalReason.UNSUPPORTED,
            "collaborator.settings.opt_treatment",
            "write RESET or CONTINUE_LOCAL: the model does not include the optimizer's state, so it is not aggregated",
        )


def replaced_in(plan: Section) -> tuple[str, ...]:
    """Return the paths of the settings that have no effect."""
    return tuple(
        f"{name}.settings.{setting}"
        for name, known in _KNOWN.items()
        for setting in sorted(settings_of(plan, name))
        if setting in known.replaced
    )


def settings_of(plan: Section, name: str) -> Section:
    """Return a section's settings, empty if it has no valid ones."""
    section = plan.get(name)
    settings = section.get("settings") if isinstance(section, Mapping) else None
    return settings if isinstance(settings, Mapping) else {}


def _of_section(name: str, section: Section, known: _Known) -> Iterator[PlanRefusal]:
    template = section.get("template")
    if known.classes and template is not None:
        package, _, found = str(template).rpartition(".")
        if found not in known.classes or package.partition(".")[0] != "openfl":
            yield PlanRefusal(PlanRefusalReason.UNSUPPORTED, f"{name}.template", f"{template}: {known.remedy}")
            return
    refused = known.refused or {}
    for setting, value in (section.get("settings") or {}).items():
        path = f"{name}.settings.{setting}"
        if setting in refused:
            if value:
                yield PlanRefusal(PlanRefusalReason.UNSUPPORTED, path, refused[setting])
        elif setting not in known.used | known.replaced:
            yield PlanRefusal(PlanRefusalReason.MALFORMED, path, "OpenFL 1.9 has no such setting: remove it")


def _is_class_path(template: object) -> bool:
    return isinstance(template, str) and all(part.isidentifier() for part in template.split(".")) and "." in template
