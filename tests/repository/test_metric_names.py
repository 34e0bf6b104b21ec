"""Metrics are named as Prometheus asks (https://prometheus.io/docs/practices/naming), and after whose they are."""

import ast
import re
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric

from tests.support.documentation import REPOSITORY
from tests.support.metrics import registries

COMPONENTS = {"hub": ("hub", "run"), "aggregator": ("aggregator",), "agent": ("agent",)}
"""The prefixes that may follow `federated_learning_`, by process; the hub manager has the runs' metrics."""
UNITS = ("seconds", "bytes")
OTHER_UNITS = {
    *("nanoseconds", "microseconds", "milliseconds", "ms", "minutes", "hours", "days"),
    *("bits", "kilobytes", "kb", "mb", "gb", "kib", "mib", "gib", "percent"),
}
MOMENTS = {"after", "before", "date", "expiry", "since", "time", "timestamp", "until"}
SPANS = {"age", "delay", "duration", "latency", "lifetime"}
RESERVED = {"bucket", "count", "created", "info", "sum", "total"}
"""Suffixes that OpenMetrics or the library appends to a name."""
MAKERS = {"Counter", "Enum", "Gauge", "Histogram", "Info", "Summary"}

EVERY = [(process, family) for process, registry in registries().items() for family in registry.collect()]


@pytest.mark.parametrize(("process", "family"), EVERY, ids=[family.name for _, family in EVERY])
def test_a_metric_is_named_after_its_process_and_in_base_units(process: str, family: Metric) -> None:
    assert list(_faults(process, family)) == []


def _faults(process: str, family: Metric) -> Iterator[str]:
    name, words = family.name, family.name.split("_")
    if not re.fullmatch(rf"federated_learning_({'|'.join(COMPONENTS[process])})(_[a-z]+)+", name):
        yield f"of {process}, and does not begin with federated_learning_ and {' or '.join(COMPONENTS[process])}"
    if wrong := OTHER_UNITS.intersection(words):
        yield f"{wrong} is no base unit"
    if any(unit in words[:-1] for unit in UNITS):
        yield "the unit does not come last"
    if MOMENTS.intersection(words) and not name.endswith("_timestamp_seconds"):
        yield "a moment is a _timestamp_seconds"
    if SPANS.intersection(words) and words[-1] != "seconds":
        yield "a span of time is in _seconds"
    if family.type in {"summary", "histogram"} and words[-1] not in UNITS:
        yield "what is summed up has a unit"
    if words[-1] in RESERVED:
        yield f"_{words[-1]} is put there by the library, where it belongs"
    if not family.documentation:
        yield "says nothing of itself"


def test_every_metric_in_the_code_is_found_with_a_literal_name() -> None:
    packages = ("federation", "hub_manager", "kubectl_fl", "spoke_agent")
    sources = [source for package in packages for source in sorted((REPOSITORY / package).rglob("*.py"))]
    made = [name for source in sources for name in _made(ast.parse(source.read_text(encoding="utf-8")))]

    assert sorted(made) == sorted(family.name for _, family in EVERY)


def _made(module: ast.Module) -> Iterator[str]:
    """The names of the metrics that a module creates; an expression that is not a literal is returned as source."""
    imports = [node for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    makers = {
        alias.asname or alias.name
        for node in imports
        for alias in node.names
        if (node.module or "").startswith("prometheus_client") and _makes(alias.name)
    }
    for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) in makers or re.match(r"prometheus_client\b", ast.unparse(call.func)):
            match call.args:
                case [ast.Constant(value=str() as name), *_]:
                    yield name
                case _:
                    yield ast.unparse(call)


def _makes(name: str) -> bool:
    return name in MAKERS or name.endswith("MetricFamily")
