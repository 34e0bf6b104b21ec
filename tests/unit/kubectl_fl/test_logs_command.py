"""`kubectl fl logs`: the aggregator's log, and a collaborator's report or log."""

import pytest

from federation.api.collaborator import COLLABORATOR_LABEL
from federation.api.run_names import work_name
from federation.kube.kinds import AGGREGATOR_POD, MANAGED_CLUSTER_ADD_ON, MANIFEST_WORK
from federation.kube.resource import Json
from kubectl_fl.commands.logs import MAX_LINE_LENGTH, split_lines
from tests.support.builders.run_objects import run_of
from tests.support.fakes.fake_kubectl import FakeKubectl
from tests.support.fakes.run_world import feedback
from tests.support.plugin import BROKEN, DONE, UID, pod, run, typed


@pytest.mark.parametrize(("init", "container"), [(DONE, "aggregator"), (BROKEN, "workspace")], ids=["done", "failed"])
def test_logs_come_from_the_newest_pod_and_its_current_container(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str], init: Json, container: str
) -> None:
    kubectl.has(AGGREGATOR_POD, pod("old", DONE), pod("new", init, "2026-01-02T00:00:00Z"))
    kubectl.logs = {f"new/{container}": "one\n\x1b[2Jtwo\nlast"}

    assert typed(kubectl, "logs", "mnist", "--tail", "5") == 0
    assert capsys.readouterr().out == "one\ntwo\nlast\n"
    assert "--tail=5" in kubectl.calls[-1]


def test_a_pod_that_has_not_started_is_reported_with_the_reason(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.has(AGGREGATOR_POD, pod("new", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}))

    assert typed(kubectl, "logs", "mnist") == 1
    assert "container workspace: ImagePullBackOff: no such image" in capsys.readouterr().err


def test_a_collaborators_report_on_the_hub_is_printed(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    said: Json = {"state": "Failed", "reason": "WorkspaceFailed", "message": "KeyError: \x1b[31m'x'",
                  "file": "src/data.py", "line": 12, "round": 3, "exitCode": 1, "restarts": 2,
                  "log": "first\nlast\x07"}  # fmt: skip
    result = {"resourceMeta": {"kind": "Collaborator"}, "statusFeedback": feedback(f"{UID}-2", **said)}
    name = work_name(run_of(run()), 2)
    status = {"resourceStatus": {"manifests": [result]}}
    kubectl.has(MANIFEST_WORK, {"metadata": {"name": name, "namespace": "c1"}, "status": status})

    assert typed(kubectl, "logs", "mnist", "--cluster", "c1") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:8] == [
        "Failed (WorkspaceFailed)",
        "KeyError: 'x'",
        "  exit    ended, code 1",
        "  at      src/data.py:12",
        "  round   3",
        "  failed  2 times",
        "last log lines:",
        "  first",
    ]
    assert "OCM has no API for spoke logs" in out
    assert "\x07" not in out


def test_after_the_run_the_recorded_last_error_is_printed(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = {"name": "c1", "state": "Failed", "reason": "WorkspaceFailed", "lastError": "KeyError"}
    kubectl.objects["federatedlearnings"] = [run(clusters=[cluster])]

    assert typed(kubectl, "logs", "mnist", "--cluster", "c1") == 0
    assert capsys.readouterr().out.startswith("Failed (WorkspaceFailed)\nKeyError\n")


def test_without_permission_for_works_the_runs_status_is_used(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.denied.append("manifestworks")
    cluster = {"name": "c1", "state": "Retrying", "reason": "Retrying", "lastError": "KeyError"}
    kubectl.objects["federatedlearnings"] = [run(clusters=[cluster])]

    assert typed(kubectl, "logs", "mnist", "--cluster", "c1") == 0
    said = capsys.readouterr()
    assert said.out.startswith("Retrying (Retrying)\nKeyError\n")
    assert "(get on manifestworks.work.open-cluster-management.io in c1)" in said.err


def test_without_permission_for_the_add_on_the_default_namespace_is_used(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.denied.append("managedclusteraddons")
    theirs = pod("theirs", DONE, **{COLLABORATOR_LABEL: work_name(run_of(run()), 2)})
    theirs["metadata"]["namespace"] = "open-cluster-management-agent-addon"
    kubectl.has(AGGREGATOR_POD, theirs)
    kubectl.logs = {"theirs/": "training\n"}

    assert typed(kubectl, "logs", "mnist", "--cluster", "c1", "--spoke-context", "site") == 0
    said = capsys.readouterr()
    assert said.out == "training\n"
    assert "(get on managedclusteraddons.addon.open-cluster-management.io in c1)" in said.err


def test_the_collaborators_log_is_read_from_the_spoke(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    addon = {"metadata": {"name": "federated-learning", "namespace": "c1"}, "status": {"namespace": "agent"}}
    theirs = pod("theirs", DONE, **{COLLABORATOR_LABEL: work_name(run_of(run()), 2)})
    theirs["metadata"]["namespace"] = "agent"
    kubectl.has(MANAGED_CLUSTER_ADD_ON, addon).has(AGGREGATOR_POD, theirs)
    kubectl.logs = {"theirs/": "training\n"}

    words = ("--cluster", "c1", "--kubeconfig", "/k", "--spoke-context", "site", "--follow")
    assert typed(kubectl, "logs", "mnist", *words) == 0
    assert capsys.readouterr().out == "training\n"
    call = kubectl.calls[-1]
    assert call[:3] == ["--kubeconfig=/k", "--context=site", "logs"]
    assert "--follow" in call


def test_overlong_lines_are_split() -> None:
    lines, rest = split_lines("one\n" + "x" * (2 * MAX_LINE_LENGTH + 1))

    assert [len(line) for line in lines] == [3, MAX_LINE_LENGTH, MAX_LINE_LENGTH]
    assert rest == "x"
