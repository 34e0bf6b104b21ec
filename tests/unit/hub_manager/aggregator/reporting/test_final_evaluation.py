"""The final evaluation is reported by its name, not as an extra round."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from hub_manager.aggregator.domain import MetricsReported
from hub_manager.aggregator.reporting.run_status import ReportInputs, metrics_of, status_of
from hub_manager.aggregator.reporting.telemetry import AggregatorTelemetry
from hub_manager.aggregator.rounds import inputs
from hub_manager.aggregator.rounds.state import Phase
from hub_manager.aggregator.validation.refusal import UpdateRefusal
from tests.support.exchange.rounds import TASKS, World, announcement, opened

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ROUNDS = 2


def in_final_evaluation() -> World:
    world = opened(tasks=TASKS[:2], rounds=ROUNDS, evaluate=True)
    for _ in range(ROUNDS):
        for peer in world.parameters.cohort:
            world.send(peer)
        world.pass_time(10)
        world.fold()
    assert world.state.phase is Phase.EVALUATING
    return world


def test_status_keeps_the_last_round() -> None:
    world = in_final_evaluation()
    for peer in world.parameters.cohort:
        status = status_of(world.state, ReportInputs(), NOW)
        assert (status["round"], status["rounds"]) == (ROUNDS, ROUNDS)
        world.measure(peer, TASKS[0].name)
    assert world.state.phase is Phase.ENDED
    assert status_of(world.state, ReportInputs(), NOW)["round"] == ROUNDS


def test_metrics_of_the_final_evaluation_have_no_round() -> None:
    world = in_final_evaluation()
    for peer in world.parameters.cohort:
        world.measure(peer, TASKS[0].name)
    metrics = metrics_of(world.state, ())
    assert [metric.round for metric in metrics] == [0]
    assert "round" not in status_of(world.state, ReportInputs(metrics=metrics), NOW)["metrics"][0]


def test_gauges_separate_the_final_evaluation_from_the_rounds() -> None:
    registry = CollectorRegistry()
    telemetry = AggregatorTelemetry(registry)

    def gauges() -> tuple[float | None, ...]:
        names = ("round", "rounds", "final_evaluation")
        return tuple(registry.get_sample_value(f"federated_learning_aggregator_{name}") for name in names)

    telemetry.run_seen(opened(rounds=ROUNDS).state)
    assert gauges() == (1, ROUNDS, 0)
    telemetry.run_seen(in_final_evaluation().state)
    assert gauges() == (ROUNDS, ROUNDS, 1)


def test_messages_name_the_final_evaluation() -> None:
    world = in_final_evaluation()
    late = MetricsReported("c1", ROUNDS, TASKS[0].name, 5, ())
    stranger = inputs.UpdateBegun("c1", announcement("c1", ROUNDS + 1))
    outcomes = world.see(late) + world.see(stranger)
    messages = [outcome.message for outcome in outcomes if isinstance(outcome, UpdateRefusal)]
    assert messages == [
        "the metrics are for round 2; the run is in the final evaluation",
        "cluster c1 is not asked for an update in the final evaluation",
    ]
