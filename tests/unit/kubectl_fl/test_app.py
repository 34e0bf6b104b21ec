"""The commands end to end, with a fake kubectl that reads from a folder."""

import io
import json
import sys

import pytest

from federation.kube.kinds import FEDERATED_LEARNING
from federation.kube.resource import Json
from kubectl_fl.app import main
from kubectl_fl.commands.watch import RunWatch
from kubectl_fl.console import Console
from kubectl_fl.errors import CommandError
from kubectl_fl.kubectl import Kubectl
from tests.support.builders.csr import NOW
from tests.support.fakes.fake_kubectl import FakeKubectl
from tests.support.plugin import ended, run, typed


def watched(fake: FakeKubectl) -> int:
    """Run a watch without pauses between retries."""
    console = Console(sys.stdout, sys.stderr)
    return RunWatch(Kubectl(fake.program), console, lambda: NOW, lambda _: None).follow("mnist", "")


def test_status_shows_the_run_in_the_contexts_namespace(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(kubectl, "status", "mnist") == 0
    assert "default/mnist Running" in capsys.readouterr().out
    assert "--namespace" not in kubectl.calls[0]


def test_flags_for_kubectl_are_passed_through(kubectl: FakeKubectl) -> None:
    flags = ("--context=hub", "--kubeconfig=/k", "--as=me", "--as-group=a", "--as-group=b", "--request-timeout=5s")

    assert typed(kubectl, "status", "mnist", "-n", "default", *flags) == 0
    (call,) = kubectl.calls
    assert set(flags) <= set(call[: call.index("get")])
    assert call[call.index("--namespace") + 1] == "default"


@pytest.mark.parametrize("before", range(6), ids=lambda before: f"{before} before the command")
def test_flags_for_kubectl_are_accepted_before_and_after_the_command(kubectl: FakeKubectl, before: int) -> None:
    flags = ("--context=hub", "--as-group=a", "--as-group=b", "--insecure-skip-tls-verify", "--namespace=default")

    assert typed(kubectl, *flags[:before], "status", *flags[before:], "mnist") == 0
    (call,) = kubectl.calls
    assert set(flags[:-1]) <= set(call[: call.index("get")])
    assert call[call.index("--namespace") + 1] == "default"


def test_a_flag_after_the_command_overrides_one_before_it(kubectl: FakeKubectl) -> None:
    assert typed(kubectl, "-n", "elsewhere", "status", "mnist", "-n", "default") == 0


def test_status_without_a_name_lists_all_runs(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    kubectl.has(FEDERATED_LEARNING, run(name="other", namespace="elsewhere"))

    assert typed(kubectl, "status", "-A") == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["default", "mnist"],
        ["elsewhere", "other"],
    ]


def test_the_resource_is_printed_unchanged(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(kubectl, "status", "mnist", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == kubectl.objects["federatedlearnings"][0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("status", "none"), 1, 'kubectl fl: FederatedLearning none: not found (federatedlearnings "none" not found)'),
        (("status", "mnist", "-A"), 2, "mutually exclusive"),
        (("logs", "mnist", "--spoke-context", "c1"), 2, "--cluster"),
        (("logs", "mnist", "--cluster", "c1", "--follow"), 2, "--spoke-context"),
        (("logs", "mnist"), 1, "no aggregator pod"),
        (("logs", "mnist", "--cluster", "c1"), 1, "c1 is not part of this run"),
    ],
    ids=["no such run", "name and all", "spoke without cluster", "follow on the hub", "no pod", "no such cluster"],
)
def test_errors_are_reported_with_a_remedy_and_no_traceback(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    assert typed(kubectl, *words) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [(), ("status", "--colour"), ("dance",), ("model", "m", "--check", "a", "--output", "b")]
)
def test_an_invalid_command_line_exits_with_2(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as found:
        main(words)
    assert found.value.code == 2


def test_a_missing_kubectl_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KUBECTL", "/nowhere/kubectl")

    assert main(["status"]) == 1
    assert "/nowhere/kubectl can't be run" in capsys.readouterr().err


def test_watch_prints_a_line_for_each_change_until_the_run_is_complete(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.watches = [
        [{"type": "ADDED", "object": run(round=1, rounds=3)}, {"type": "MODIFIED", "object": run(round=2, rounds=3)}],
        [
            {"type": "ADDED", "object": run(round=2, rounds=3)},
            {"type": "MODIFIED", "object": ended("Complete", "done")},
        ],
    ]

    assert watched(kubectl) == 0
    told = [line.partition("  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert told == ["Running:", "round 1 of 3", "round 2 of 3", "Completed: done"]


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_page_is_redrawn(kubectl: FakeKubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    kubectl.watches = [[{"type": "ADDED", "object": run()}, {"type": "MODIFIED", "object": ended("Complete", "done")}]]
    out = Terminal()

    code = RunWatch(Kubectl(kubectl.program), Console(out, io.StringIO()), lambda: NOW).follow("mnist", "")

    assert code == 0
    first, second = out.getvalue().split("\x1b[J")[1:]
    height = first.count("\n")
    assert first.startswith("default/mnist Running\n")
    assert first.endswith(f"\x1b[{height}A\r")
    assert second.startswith("default/mnist Completed\n  done\n")


def test_watch_exits_with_1_and_the_cause_if_the_run_fails(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.watches = [[{"type": "ADDED", "object": ended("Failed", "c1: KeyError (src/data.py:12)")}]]

    assert typed(kubectl, "watch", "mnist") == 1
    assert "mnist has failed. Why: c1: KeyError (src/data.py:12)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "events", [[{"type": "ADDED", "object": run()}], [{"type": "DELETED", "object": run()}]], ids=["gone", "event"]
)
def test_watch_reports_a_deleted_run(kubectl: FakeKubectl, events: list[Json]) -> None:
    kubectl.watches = [events]

    with pytest.raises(CommandError, match="mnist was deleted"):
        watched(kubectl)


def test_doctor_exits_with_1_if_there_is_a_problem(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(kubectl, "doctor", "mnist", "--cluster", "c1") == 1
    out = capsys.readouterr().out
    assert "cluster c1" in out
    assert "-> register it: clusteradm join" in out
