"""The resources of the example are ones that a site publishes, and that say the same as its plan."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from federation.api.dataset import Dataset
from spoke_agent.claims.planning.validation import dataset_refusal

DIGITS = Path("examples/digits-openfl")


def resource(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DIGITS / name).read_text(encoding="utf-8"))
    return content


def test_the_dataset_is_sound_and_admits_the_run() -> None:
    dataset = msgspec.convert(resource("dataset.yaml"), Dataset)
    run = resource("federatedlearning.yaml")

    assert dataset_refusal(dataset, datetime(2030, 1, 1, tzinfo=UTC)) is None
    assert dataset.metadata.name == run["spec"]["client"]["dataset"]
    assert [pattern.namespace for pattern in dataset.spec.policy.runs] == [run["metadata"]["namespace"]]
    assert run["spec"]["client"]["image"].startswith(dataset.spec.policy.images[0])


def test_the_run_has_the_rounds_of_the_plan() -> None:
    plan = resource("plan/plan.yaml")

    assert (
        resource("federatedlearning.yaml")["spec"]["server"]["rounds"]
        == (plan["aggregator"]["settings"]["rounds_to_train"])
    )


def test_the_image_contains_the_needed_files_of_the_workspace() -> None:
    copied = [line.split() for line in (DIGITS / "Containerfile").read_text(encoding="utf-8").splitlines()]

    assert [line[1:] for line in copied if line[:1] == ["COPY"]] == [
        ["plan", "/workspace/plan"],
        ["src", "/workspace/src"],
    ]
