"""The Dataset that users copy is one that the agent publishes."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import yaml

from federation.api.dataset import Dataset
from spoke_agent.claims.planning.validation import dataset_refusal


def test_the_sample_is_sound() -> None:
    sample = msgspec.convert(
        yaml.safe_load(Path("manifests/samples/dataset.yaml").read_text(encoding="utf-8")), Dataset
    )

    assert sample.spec.volume.sources
    assert dataset_refusal(sample, datetime(2030, 1, 1, tzinfo=UTC)) is None
