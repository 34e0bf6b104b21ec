"""`kubectl fl logs`: the aggregator's own, and what the hub or the spoke has of a site's."""

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
def test_logs_are_the_newest_pods_and_the_container_that_tells(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str], init: Json, container: str
) -> None:
    kubectl.has(AGGREGATOR_POD, pod("old", DONE), pod("new", init, "2026-01-02T00:00:00Z"))
    kubectl.logs = {f"new/{container}": "one\n\x1b[2Jtwo\nlast"}

    assert typed(kubectl, "logs", "mnist", "--tail", "5") == 0
    assert capsys.readouterr().out == "one\ntwo\nlast\n"
    assert "--tail=5" in kubectl.calls[-1]


def test_a_pod_that_has_not_started_has_no_log_and_says_why(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.has(AGGREGATOR_POD, pod("new", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}))

    assert typed(kubectl, "logs", "mnist") == 1
    assert "container workspace: ImagePullBackOff: no such image" in capsys.readouterr().err


def test_a_sites_log_is_what_the_hub_has_of_it(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
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
        "last lines of its log:",
        "  first",
    ]
    assert "OCM hands no logs of a site on" in out
    assert "\x07" not in out


def test_after_the_end_a_sites_last_error_is_the_one_recorded(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = {"name": "c1", "state": "Failed", "reason": "WorkspaceFailed", "lastError": "KeyError"}
    kubectl.objects["federatedlearnings"] = [run(clusters=[cluster])]

    assert typed(kubectl, "logs", "mnist", "--cluster", "c1") == 0
    assert capsys.readouterr().out.startswith("Failed (WorkspaceFailed)\nKeyError\n")


def test_where_works_may_not_be_read_a_sites_words_are_those_of_the_runs_status(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.denied.append("manifestworks")
    cluster = {"name": "c1", "state": "Retrying", "reason": "Retrying", "lastError": "KeyError"}
    kubectl.objects["federatedlearnings"] = [run(clusters=[cluster])]

    assert typed(kubectl, "logs", "mnist", "--cluster", "c1") == 0
    said = capsys.readouterr()
    assert said.out.startswith("Retrying (Retrying)\nKeyError\n")
    assert "(get on manifestworks.work.open-cluster-management.io in c1)" in said.err


def test_where_the_add_on_may_not_be_read_its_pods_are_looked_for_in_ocms_own_namespace(
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


def test_a_spoke_that_is_reached_gives_the_collaborators_log(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_a_line_without_an_end_is_cut_into_pieces() -> None:
    lines, rest = split_lines("one\n" + "x" * (2 * MAX_LINE_LENGTH + 1))

    assert [len(line) for line in lines] == [3, MAX_LINE_LENGTH, MAX_LINE_LENGTH]
    assert rest == "x"
