"""Metrics that the aggregator won't have, in OpenFL's own Collaborator: the round's update goes out all the same."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from runtimes.kit.exchange import InitialModelWanted, RoundClosed, RoundWork, Work
from runtimes.openfl.process import take_part
from tests.support.builders.workspaces import DIGITS, config
from tests.support.fakes.memory_exchange import MemoryExchange

pytestmark = pytest.mark.openfl

TASKS = ("aggregated_model_validation", "train", "locally_tuned_model_validation")
SENT = [*(f"report {task}" for task in TASKS), "upload train"]


def two_rounds(tmp_path: Path, shards: Path, report: RoundClosed, upload: RoundClosed | None = None) -> MemoryExchange:
    """The result of two rounds in which every metric is rejected."""
    orders: list[Work | Exception] = [InitialModelWanted(), *(RoundWork(number, TASKS) for number in (1, 2))]
    exchange = MemoryExchange(orders, fail_report_with=report, fail_upload_with=upload)
    assert take_part(config(DIGITS, tmp_path, shards / "c1"), lambda _: nullcontext(exchange)) is None
    return exchange


def test_update_counts_whose_metrics_are_refused(
    tmp_path: Path, shards: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange = two_rounds(tmp_path, shards, RoundClosed("MetricNotFinite: metric 'loss' is nan"))
    assert exchange.sent == SENT * 2
    assert [update.round for update in exchange.updates] == [1, 2]
    assert "MetricNotFinite" in capfd.readouterr().out


def test_round_that_has_closed_is_missed_and_the_next_one_is_done(tmp_path: Path, shards: Path) -> None:
    closed = RoundClosed("OtherRound: metrics of round 1; round 2 is in work")
    exchange = two_rounds(tmp_path, shards, closed, closed)
    assert (exchange.sent, exchange.updates) == (SENT * 2, [])
