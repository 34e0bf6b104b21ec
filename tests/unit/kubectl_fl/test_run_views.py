"""The page of a run, the table of runs, and the lines for its changes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from federation.api.federated_learning import FederatedLearning
from federation.api.run_status import COMPLETE, FAILED
from federation.kube.resource import Json
from hub_manager.federated_learning.planning.conditions import RunReason
from hub_manager.federated_learning.planning.validate import FaultReason
from kubectl_fl.doctor.remedies import NO_ACTION_NEEDED, REMEDIES
from kubectl_fl.views.run_changes import describe_changes, run_result
from kubectl_fl.views.run_status import MAX_METRIC_COLUMNS, render_run, render_run_table
from tests.support.builders.run_objects import run_json, run_of

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
WHERE = "KeyError (src/data.py:12)"
MODEL = {"location": "default/mnist/1-u/m.safetensors", "digest": "blake3:ab", "size": 2048, "round": 2}


def run(*, generation: int = 1, **status: Any) -> FederatedLearning:
    body = run_json()
    body["metadata"] |= {"generation": generation, "creationTimestamp": "2026-01-01T11:00:00Z"}
    return run_of({**body, "status": {"observedGeneration": 1, "attempt": 1, **status}})


def under_way(**more: Any) -> FederatedLearning:
    status: Json = (
        {
            "phase": "Running",
            "message": "Rounds are in progress",
            "cohort": ["c1", "c2"],
            "round": 3,
            "rounds": 4,
            "progressPercent": 50,
            "estimatedCompletionTime": "2026-01-01T12:05:00Z",
            "listeners": [{"name": "main", "type": "NodePort", "address": "203.0.113.1", "port": 31531}],
            "clusters": [
                {"name": "c1", "state": "Running", "round": 2, "samples": 898, "lastSeen": "2026-01-01T11:59:56Z"},
                {"name": "c2", "state": "Failed", "reason": "WorkspaceFailed", "lastError": WHERE},
            ],
            "metrics": [
                {"task": "validate", "name": "accuracy", "value": 0.93412, "round": 2,
                 "clusters": [{"name": "c1", "value": 0.93}, {"name": "c2", "value": 0.94}]},
            ],
            "model": MODEL,
        } | more
    )  # fmt: skip
    return run(**status)


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def test_the_page_shows_progress_cohort_model_and_metrics() -> None:
    page = "\n".join(render_run(under_way(), NOW))

    assert "default/mnist Running [############............] round 3 of 4, 50 %, about 5 min left" in page
    assert "Cohort:   2: c1, c2" in page
    assert "main (NodePort) 203.0.113.1:31531" in page
    assert "after round 2, 2.0 KiB, blake3:ab" in page
    assert "default/mnist/1-u/m.safetensors in PersistentVolumeClaim model" in page
    assert "c1        Running       2       898   4 s ago" in page
    assert "WorkspaceFailed: KeyError (src/data.py:12)" in page
    assert "accuracy   validate       2     0.9341   0.93   0.94" in page
    assert "Needs attention" not in page


def test_a_condition_that_needs_attention_has_its_remedy() -> None:
    wrong = condition("CohortReady", "False", "SitesRefused", "c1 Refused")
    page = "\n".join(render_run(run(phase="Waiting", conditions=[wrong]), NOW))

    assert "CohortReady False, SitesRefused" in page
    assert "-> find the clusters and what each needs: kubectl fl doctor" in page


def test_conditions_of_a_completed_run_need_no_attention() -> None:
    ended = [
        condition("ServerReady", "False", "Ended"),
        condition("Progressing", "False", "Ended"),
        condition("Complete", "True", "ModelStored", "All rounds are complete"),
        condition("Failed", "False", "NotEnded"),
    ]

    assert "Needs attention" not in "\n".join(render_run(run(conditions=ended), NOW))


def test_every_reason_of_the_hub_manager_has_a_remedy_or_needs_none() -> None:
    fine = {"RoundsUnderWay", "ModelStored"}
    reasons = {reason.value for reason in (*RunReason, *FaultReason)}

    assert reasons - REMEDIES.keys() - NO_ACTION_NEEDED - fine == set()
    assert REMEDIES.keys() - reasons - {"TooFewClusters"} == set()


def test_an_unobserved_generation_is_reported() -> None:
    assert "has not observed the current generation" in "\n".join(render_run(run(generation=2), NOW))


def test_metrics_of_many_clusters_show_lowest_and_highest() -> None:
    sites = [{"name": f"c{n}", "value": n / 10} for n in range(MAX_METRIC_COLUMNS + 1)]
    metric = {"task": "t", "name": "accuracy", "value": 0.5, "round": 1, "clusters": sites}

    page = "\n".join(render_run(run(metrics=[metric]), NOW))

    assert "0 c0" in page
    assert "0.5 c5" in page
    assert "c3" not in page


def test_the_page_sanitizes_text_from_spokes() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2Jgone\u202e"
    every = {
        "message": hostile,
        "clusters": [{"name": "c1", "state": "Failed", "reason": "R", "lastError": hostile, "lastSeen": hostile}],
        "conditions": [condition("CohortReady", "False", hostile, hostile)],
    }

    page = "".join(render_run(under_way(**every), NOW))

    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "gone" in page


def test_runs_are_listed_in_a_table() -> None:
    summary = {"round": "3/4", "clusters": "2/2", "metric": "accuracy 0.93"}

    assert render_run_table([run(phase="Running", summary=summary)], NOW, everywhere=True) == [
        "NAMESPACE   NAME    PHASE     ROUND   CLUSTERS   METRIC          AGE",
        "default     mnist   Running   3/4     2/2        accuracy 0.93   60 min",
    ]
    assert render_run_table([], NOW, everywhere=False)[0].startswith("No runs in this namespace")


def test_only_changes_are_reported() -> None:
    before = under_way()
    after = under_way(round=4, model={**MODEL, "round": 3}, clusters=[{"name": "c1", "state": "Running"}])

    assert describe_changes(before, before) == []
    assert describe_changes(before, after) == ["round 4 of 4", "stored the model of round 3, blake3:ab"]
    assert "round 3 of 4" in describe_changes(None, before)
    assert "c2 is Failed (WorkspaceFailed): KeyError (src/data.py:12)" in describe_changes(None, before)


def test_metrics_of_the_final_evaluation_have_no_round() -> None:
    final = under_way(round=4, metrics=[{"task": "validate", "name": "accuracy", "value": 0.95}])

    assert "final evaluation: validate accuracy 0.95" in describe_changes(under_way(), final)
    assert [line.split()[:4] for line in render_run(final, NOW) if "validate" in line] == [
        ["accuracy", "validate", "final", "0.95"]
    ]


def test_a_multiline_message_is_one_change() -> None:
    assert describe_changes(None, run(phase="Waiting", message="one\ntwo\x1b[2J")) == ["Waiting: one two"]


@pytest.mark.parametrize(("kind", "well"), [(COMPLETE, True), (FAILED, False)])
def test_the_result_comes_from_conditions_of_the_current_generation(kind: str, well: bool) -> None:
    ended = [condition(kind, "True", "Why", "in words")]

    end = run_result(run(conditions=ended))

    assert end is not None
    assert (end.well, end.cause) == (well, "Why: in words")
    assert run_result(run(generation=2, conditions=ended)) is None
    assert run_result(under_way()) is None
