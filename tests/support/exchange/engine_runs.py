"""A complete run in a folder, with sites that train on plain numbers and an engine that may crash at any write."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from federation.model import digest_of
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.engine.engine import RoundEngine, open_engine
from hub_manager.aggregator.numerics.algorithms import Adam, Aggregation, WeightedMean, Yogi
from hub_manager.aggregator.rounds import effects, inputs
from hub_manager.aggregator.rounds.effects import Effect
from hub_manager.aggregator.rounds.state import Phase
from tests.support.builders.models import MIXED, elements, packed, rounded, unpacked
from tests.support.exchange.reference_fold import Server, reference_round, weighted_mean
from tests.support.exchange.rounds import parameters

RUN = "6f0f7b0e-run"
COHORT = ("c1", "c10", "c2")
TERMS = parameters(COHORT, rounds=3, quorum=3)
AGGREGATION = Aggregation(WeightedMean(), Yogi(0.1))
CHUNK = 37
"""Bytes to read at a time."""
WEIGHTS = {"c1": 10, "c10": 3, "c2": 901}
Model = Mapping[str, Sequence[float]]


def trained(peer: str, round_number: int, model: Model) -> dict[str, list[float]]:
    """Compute a site's update, which depends on the site, the round and every value."""
    pull = 0.1 * WEIGHTS[peer] / round_number
    numbers = [value * 0.9 + pull / (1 + index) for values in model.values() for index, value in enumerate(values)]
    return rounded(MIXED, numbers)


def initial_model() -> dict[str, list[float]]:
    """Return the initial model, which the first site by name sends."""
    return rounded(MIXED, [0.3 * index - 1 for index in range(elements(MIXED))])


def expected_models() -> list[bytes]:
    """Compute the initial model and the model after each round with the reference."""
    types = {tensor.name: tensor.dtype.value for tensor in MIXED.tensors}
    server = Server("yogi", 0.1, Adam(0.1).beta1, Adam(0.1).beta2, Adam(0.1).tau)
    model: Model = initial_model()
    models = [packed(MIXED, model)]
    for round_number in range(1, TERMS.rounds + 1):
        updates = [(trained(peer, round_number, model), WEIGHTS[peer]) for peer in COHORT]
        model = reference_round(model, updates, types, weighted_mean, server)
        models.append(packed(MIXED, model))
    return models


class Killed(BaseException):
    """The simulated process has crashed."""


@dataclass
class Sites:
    """The cohort, which performs the engine's effects and survives the engine."""

    folder: Path
    order: Callable[[list[str]], Sequence[str]] = list
    lives: int = 0
    sent: int = 0
    """Bytes of updates that all engine processes have spooled."""
    acknowledged: set[tuple[str, int]] = field(default_factory=set)
    """Peers and rounds of counted updates, which must not be requested again."""

    def run_to_the_end(self) -> RoundEngine:
        """Start engines until one of them has ended the run."""
        while True:
            self.lives += 1
            try:
                return self._live()
            except Killed:
                continue

    def _live(self) -> RoundEngine:
        engine, first = open_engine(self.folder, RUN, TERMS, AGGREGATION, 0.0, snapshot_rounds=2)
        try:
            todo = list(first)
            for peer in self.order(list(COHORT)):
                todo += engine.step(inputs.Joined(peer, MIXED), 0.0).effects
            while todo:
                requested_from = [
                    effect for effect in todo if isinstance(effect, effects.SendWork | effects.RequestInitialModel)
                ]
                turn = {effect.peer: effect for effect in requested_from}
                rest = [effect for effect in todo if effect not in requested_from]
                todo = [found for peer in self.order(sorted(turn)) for found in self._answer(engine, turn[peer])]
                todo += [found for effect in rest for found in _performed(engine, effect)]
        finally:
            engine.close()
        assert engine.state.phase is Phase.ENDED
        return engine

    def _answer(self, engine: RoundEngine, requested_from: Effect) -> list[Effect]:
        match requested_from:
            case effects.RequestInitialModel(peer=peer):
                raw, announced = packed(MIXED, initial_model()), (0, "", 0)
            case effects.SendWork(peer=peer):
                model = unpacked(MIXED, stored_model(engine, requested_from.round - 1))
                raw, announced = (
                    packed(MIXED, trained(peer, requested_from.round, model)),
                    (requested_from.round, "train", WEIGHTS[peer]),
                )
            case _:
                return []
        round_number, task, weight = announced
        assert (peer, round_number) not in self.acknowledged
        announcement = Announcement(round_number, task, len(raw), digest_of(raw), weight)
        if engine.step(inputs.UpdateBegun(peer, announcement), 0.0).refusals:
            return []
        self._send(engine, peer, announcement, raw)
        result = engine.step(inputs.UpdateComplete(peer, announcement), 0.0)
        if not result.refusals:
            self.acknowledged.add((peer, round_number))
        return list(result.effects)

    def _send(self, engine: RoundEngine, peer: str, announced: Announcement, raw: bytes) -> None:
        """Upload the missing part of an update, in chunks that split elements."""
        with engine.spool.receive(peer, announced, MIXED) as upload:
            for offset in range(upload.offset, len(raw), CHUNK):
                chunk = raw[offset : offset + CHUNK]
                assert upload.write(offset, chunk) is None
                self.sent += len(chunk)
            assert upload.finish() is None


def _performed(engine: RoundEngine, effect: Effect) -> Sequence[Effect]:
    match effect:
        case effects.StoreInitialModel() | effects.FoldUpdates():
            return engine.step(engine.perform(effect), 0.0).effects
        case effects.DropSpool():
            engine.spool.drop_through(effect.round)
    return ()


def stored_model(engine: RoundEngine, round_number: int) -> bytes:
    """Read the bytes of a checkpoint's model."""
    raw = bytearray(MIXED.nbytes)
    with engine.checkpoints.source(round_number) as source:
        source.read_into(0, memoryview(raw))
    return bytes(raw)


@contextmanager
def killed_before_write(*numbers: int) -> Iterator[list[int]]:
    """Simulate a crash before the calls with these numbers that change or synchronise a file.

    The yielded list contains the number of calls so far. Written data survive, as with `kill -9`.
    """
    made = [0]

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def counting(*args: object, **named: object) -> object:
            made[0] += 1
            if made[0] in numbers:
                raise Killed
            return call(*args, **named)

        return counting

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "fsync", "fdatasync", "ftruncate", "rename", "replace", "mkdir", "unlink", "rmdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield made
