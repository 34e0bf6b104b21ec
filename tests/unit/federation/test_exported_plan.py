"""The hub validates the plan that an untrusted image exports."""

from typing import Any

import msgspec
import pytest

from federation.exported_plan import LARGEST, ExportedPlan, PlanNotUnderstood, TaskKind, decode

PLAN: dict[str, Any] = {
    "version": 1,
    "framework": "openfl",
    "rounds": 3,
    "tasks": [{"name": "validation", "kind": "ValidateAggregated"}, {"name": "train", "kind": "Train"}],
    "groups": [{"name": "learning", "share": 1, "tasks": ["validation", "train"]}],
    "aggregation": "Median",
    "firstModel": "first-model.safetensors",
}


def document(**changes: Any) -> bytes:
    return msgspec.json.encode(PLAN | changes)


def test_a_plan_is_read() -> None:
    plan = decode(document())

    assert isinstance(plan, ExportedPlan)
    assert (plan.rounds, plan.aggregation, plan.initial_model) == (3, "Median", "first-model.safetensors")
    assert [task.kind for task in plan.tasks] == [TaskKind.VALIDATE_AGGREGATED, TaskKind.TRAIN]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "version"),
        ({"rounds": 0}, "rounds"),
        ({"rounds": 10**9}, "rounds"),
        ({"rounds": "3"}, "rounds"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [{"name": "train", "kind": "Distil"}]}, "kind"),
        ({"tasks": [{"name": "train\n", "kind": "Train"}]}, "name"),
        ({"tasks": [{"name": "train", "kind": "Train"}] * 2}, "each once"),
        ({"tasks": [{"name": "fit", "kind": "Train"}]}, "those of the group"),
        ({"tasks": [{**task, "kind": "Train"} for task in PLAN["tasks"]]}, "exactly one"),
        ({"groups": [{"name": "learning", "share": 0.5, "tasks": ["train"]}]}, "share"),
        ({"aggregation": "src.aggregation.Mine"}, "aggregation"),
        ({"compression": "KCPipeline"}, "compression"),
        ({"firstModel": "../../etc/shadow"}, "firstModel"),
        ({"extra": 1}, "extra"),
        ({"replaced": ["x" * 2000]}, "replaced"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_none_is_refused_by_its_field(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(PlanNotUnderstood, match=named):
        decode(document(**changes))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"\xff", b"{" * 100_000, b" " * (LARGEST + 1)], ids=lambda text: repr(text[:4])
)
def test_what_is_no_document_is_refused(text: bytes) -> None:
    with pytest.raises(PlanNotUnderstood):
        decode(text)
