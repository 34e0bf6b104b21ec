"""Downloads of the model: complete, verified, resumable, and without a leftover pod."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from federation.kube.kinds import AGGREGATOR_POD
from kubectl_fl.app import main
from kubectl_fl.commands.download import MAX_STALLS, ModelDownload
from kubectl_fl.commands.verify import verify_model
from kubectl_fl.errors import CommandError
from kubectl_fl.kubectl import Kubectl
from tests.support.fleet.model_hub import Hub


def deletes(hub: Hub) -> int:
    return sum(call[:3] == ["delete", "pod", "mnist-read-abcde"] for call in hub.kubectl.calls)


def beside(target: Path) -> list[str]:
    return [path.name for path in target.parent.iterdir()]


def test_the_model_is_downloaded_and_the_pod_deleted(hub: Hub, target: Path) -> None:
    hub.download(target)

    assert target.read_bytes() == hub.file.read_bytes()
    assert beside(target) == ["mnist.safetensors"]
    assert deletes(hub) == 1
    assert hub.kubectl.verbs()[-1] == "delete"


@pytest.mark.parametrize("breaks", [(0,), (100,), (100, 0, 37), (1, 1, 1)], ids=str)
def test_a_broken_stream_resumes_at_its_offset(hub: Hub, target: Path, breaks: tuple[int, ...]) -> None:
    hub.kubectl.breaking(*breaks)

    hub.download(target)

    assert target.read_bytes() == hub.file.read_bytes()
    offsets = [int(call[-1]) for call in hub.kubectl.calls if call[-2].endswith("model.safetensors")]
    assert offsets == [sum(breaks[:n]) for n in range(len(breaks) + 1)]


def test_a_stalled_stream_fails_and_a_later_download_resumes(hub: Hub, target: Path) -> None:
    hub.kubectl.breaking(64, *([0] * MAX_STALLS))

    with pytest.raises(CommandError, match=r"can't be read beyond 64 B of .*the line was cut"):
        hub.download(target)
    assert not target.exists()
    assert deletes(hub) == 1
    hub.download(target)

    assert target.read_bytes() == hub.file.read_bytes()
    assert any(line.startswith("resuming after 64 B") for line in hub.told)


@pytest.mark.parametrize("where", [3, 30, -1], ids=["header's length", "header", "tensors"])
def test_a_corrupted_byte_is_detected_anywhere(hub: Hub, target: Path, where: int) -> None:
    target.write_bytes(b"the one before")
    raw = bytearray(hub.file.read_bytes())
    raw[where] ^= 1
    hub.file.write_bytes(raw)

    with pytest.raises(CommandError, match=r"digest|header"):
        hub.download(target)
    assert target.read_bytes() == b"the one before"
    assert beside(target) == ["mnist.safetensors"]
    assert deletes(hub) == 1


def test_a_manifest_of_another_model_is_rejected(hub: Hub, target: Path) -> None:
    hub.body["status"]["model"]["digest"] = "blake3:" + "0" * 64

    with pytest.raises(CommandError, match="manifest describes another model"):
        hub.download(target)


def test_a_partial_file_of_another_model_is_discarded(hub: Hub, target: Path) -> None:
    digest = hub.body["status"]["model"]["digest"].rpartition(":")[2][:16]
    part = target.with_name(f".{target.name}.{digest}.partial")
    part.write_bytes(b"x" * 50)

    with pytest.raises(CommandError):
        hub.download(target)
    hub.download(target)

    assert target.read_bytes() == hub.file.read_bytes()


def test_ctrl_c_deletes_the_pod_and_keeps_the_partial_file(hub: Hub, target: Path) -> None:
    def pressed(_: float) -> None:
        raise KeyboardInterrupt

    hub.kubectl.breaking(64)
    download = ModelDownload(Kubectl(hub.kubectl.program), hub.run, hub.told.append, pause=pressed)

    with pytest.raises(KeyboardInterrupt):
        download.download_to(target, "", "abcde")
    assert deletes(hub) == 1
    assert [path.stat().st_size for path in target.parent.iterdir()] == [64]


def test_ctrl_c_while_kubectl_starts_leaves_no_child(hub: Hub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Pressed(subprocess.Popen[bytes]):
        def __init__(self, command: Any, **options: Any) -> None:
            super().__init__(command, **options)
            if "exec" in command and "stdin" in options and "to read" in hub.told[-1]:
                started.append(self)
                signal.raise_signal(signal.SIGINT)

    hub.kubectl.breaking(-1)
    monkeypatch.setattr(subprocess, "Popen", Pressed)
    with pytest.raises(KeyboardInterrupt):
        hub.download(target)

    assert [child.poll() is not None for child in started] == [True]
    assert deletes(hub) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_terminating_signal_deletes_the_pod(hub: Hub, target: Path, number: signal.Signals) -> None:
    hub.kubectl.breaking(-1)
    command = [sys.executable, "-m", "kubectl_fl", "model", "mnist", "--output", str(target)]
    environment = os.environ | {"KUBECTL": hub.kubectl.program}

    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("to read" in line for line in iter(process.stderr.readline, ""))
        process.send_signal(number)
        process.stderr.read()

    assert process.returncode == 130
    assert hub.kubectl.verbs().count("delete") == 1


def test_a_pod_that_does_not_start_is_reported_and_deleted(hub: Hub, target: Path) -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    metadata = {"name": "mnist-read-abcde", "namespace": "default"}
    statuses = [{"name": "reader", "state": waiting}]
    hub.kubectl.has(AGGREGATOR_POD, {"metadata": metadata, "status": {"containerStatuses": statuses}})
    hub.kubectl.refusing = {"wait": "error: timed out waiting for the condition"}

    with pytest.raises(CommandError, match="container reader: ErrImagePull: no such image"):
        hub.download(target)
    assert deletes(hub) == 1
    assert beside(target) == []


def test_a_pod_that_cannot_be_deleted_is_reported(hub: Hub, target: Path) -> None:
    hub.kubectl.refusing = {"delete": "Error from server (Forbidden): no"}

    hub.download(target)

    assert "delete it: kubectl delete pod mnist-read-abcde --namespace default" in hub.told[-1]


def test_two_downloads_cannot_write_the_same_file(hub: Hub, target: Path) -> None:
    digest = hub.body["status"]["model"]["digest"].rpartition(":")[2][:16]
    part = target.with_name(f".{target.name}.{digest}.partial")
    with part.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="another download"):
            hub.download(target)


def test_the_command_downloads_verifies_and_reports(
    hub: Hub, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECTL", hub.kubectl.program)

    assert main(["model", "mnist", "--output", str(target)]) == 0
    digest = hub.body["status"]["model"]["digest"]
    assert digest in capsys.readouterr().out
    assert main(["model", "mnist", "--check", str(target)]) == 0
    os.truncate(target, 100)
    assert main(["model", "mnist", "--check", str(target)]) == 1
    assert main(["model", "mnist", "--check", str(target.parent / "none")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_copy_with_a_corrupted_tensor_is_rejected(hub: Hub, target: Path) -> None:
    raw = bytearray(hub.file.read_bytes())
    raw[-1] ^= 1
    target.write_bytes(raw)
    model = hub.run.status.model

    with pytest.raises(CommandError, match=r"has digest .*, expected"):
        verify_model(target, model.size, model.digest)


def test_a_call_with_deferred_signals_completes_before_ctrl_c(tmp_path: Path) -> None:
    done, program = tmp_path / "done", tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\nkill -INT $PPID\nsleep 1\ntouch {done}\n")
    program.chmod(0o755)

    with pytest.raises(KeyboardInterrupt):
        Kubectl(str(program)).call("delete", subject="the pod", defer_signals=True)
    assert done.exists()


def test_a_missing_blake3_names_the_extra(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECTL", hub.kubectl.program)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    assert main(["model", "mnist"]) == 1
    assert "federated-learning-addon[cli]" in capsys.readouterr().err
