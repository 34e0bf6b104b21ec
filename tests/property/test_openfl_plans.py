"""Whatever is in a plan, the hub can read what is made of it, or it is refused by the name of a setting."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from federation.exported_plan import ExportedPlan, decode, encode
from runtimes.openfl.plan_export import export_plan, with_defaults
from runtimes.openfl.plan_settings import PlanRefusal
from tests.support.builders.plans import plan

LEAVES = st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | st.text(max_size=8) | st.just("openfl.a.Median")
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = st.sampled_from(
    [
        path
        for section in plan()
        for path in (section, f"{section}.settings", f"{section}.template", f"{section}.defaults", f"{section}.extra")
    ]
    + [
        "aggregator.settings.rounds_to_train",
        "assigner.settings.task_groups",
        "assigner.settings.selected_task_group",
        "collaborator.settings.opt_treatment",
        "tasks.train.kwargs",
        "tasks.train.function",
        "tasks.train.aggregation_type",
        "tasks.validation.kwargs.apply",
        "connector",
    ]
)


def changed(written: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *parents, last = path.split(".")
    place: Any = written
    for parent in parents:
        if not isinstance(place, dict):
            return written
        place = place.setdefault(parent, {})
    if isinstance(place, dict):
        place[last] = value
    return written


@given(st.lists(st.tuples(PATHS, ANYTHING), max_size=3))
def test_a_plan_is_run_or_refused_by_name(changes: list[tuple[str, object]]) -> None:
    written = plan()
    for path, value in changes:
        written = changed(written, path, value)

    merged = with_defaults(written, lambda _: {"settings": {}})
    judged = (merged,) if isinstance(merged, PlanRefusal) else export_plan(merged)

    if isinstance(judged, ExportedPlan):
        assert decode(encode(judged)) == judged
    else:
        assert judged
        assert all(refusal.setting and refusal.remedy for refusal in judged)


@given(ANYTHING)
def test_what_is_no_plan_is_refused(written: object) -> None:
    merged = with_defaults(written, lambda _: None)

    judged = (merged,) if isinstance(merged, PlanRefusal) else export_plan(merged)

    assert not isinstance(judged, ExportedPlan)
