"""A run and its pods as `kubectl fl` finds them, and its commands as a person types them."""

from typing import Any

from federation.api.run_names import ATTEMPT_LABEL, RUN_UID_LABEL
from federation.kube.resource import Json
from kubectl_fl.app import main
from tests.support.builders.run_objects import run_json
from tests.support.fakes.fake_kubectl import FakeKubectl

UID = "u-1"
OURS = {RUN_UID_LABEL: UID, ATTEMPT_LABEL: "2"}


def run(phase: str = "Running", name: str = "mnist", namespace: str = "default", **status: Any) -> Json:
    body = run_json(name, namespace)
    body["metadata"] |= {"uid": UID, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {**body, "status": {"phase": phase, "observedGeneration": 1, "attempt": 2, **status}}


def ended(kind: str, message: str) -> Json:
    condition = {"type": kind, "status": "True", "reason": "Why", "message": message}
    return run("Completed" if kind == "Complete" else "Failed", message=message, conditions=[condition])


def pod(name: str, init: Json, made: str = "2026-01-01T00:00:00Z", **labels: str) -> Json:
    metadata = {"name": name, "namespace": "default", "labels": OURS | labels, "creationTimestamp": made}
    statuses = [{"name": "workspace", "state": init}]
    return {"metadata": metadata, "status": {"phase": "Running", "initContainerStatuses": statuses}}


DONE = {"terminated": {"exitCode": 0}}
BROKEN = {"terminated": {"exitCode": 3, "reason": "Error"}}


def typed(fake: FakeKubectl, *words: str) -> int:
    assert fake.program
    return main(words)
