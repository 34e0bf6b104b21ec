"""The spool: resumed uploads, refused bytes, and deleted files."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model import digest_of
from hub_manager.aggregator.domain import Announcement
from hub_manager.aggregator.storage.spool import Spool
from hub_manager.aggregator.validation.content import Inspection
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason
from tests.support.builders.models import MIXED, elements, packed, rounded

RAW = packed(MIXED, rounded(MIXED, [0.5 * index for index in range(elements(MIXED))]))


def announced(raw: bytes = RAW, *, size: int | None = None) -> Announcement:
    return Announcement(1, "train", size if size is not None else len(raw), digest_of(raw), 10)


def sent(spool: Spool, raw: bytes, announcement: Announcement, chunk: int = 7) -> UpdateRefusal | None:
    with spool.receive("c1", announcement, MIXED) as upload:
        for offset in range(upload.offset, len(raw), chunk):
            refusal = upload.write(offset, raw[offset : offset + chunk])
            if refusal is not None:
                return refusal
        return upload.finish()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.*") if path.is_file())


def test_complete_update_can_be_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert sent(spool, RAW, announced()) is None
    into = bytearray(len(RAW))
    with spool.source("c1", 1, announced().digest) as source:
        source.read_into(0, memoryview(into))
        assert bytes(into) == RAW
        assert source.size == len(RAW)
        with pytest.raises(OSError, match="ends before byte"):
            source.read_into(1, memoryview(into))


def test_upload_resumes_after_a_crash(tmp_path: Path) -> None:
    with Spool(tmp_path).receive("c1", announced(), MIXED) as upload:
        upload.write(0, RAW[:50])
    assert Spool(tmp_path).offset("c1", announced()) == 50
    with Spool(tmp_path).receive("c1", announced(), MIXED) as upload:
        assert upload.offset == 50
        assert upload.write(50, RAW[50:]) is None
        assert upload.finish() is None
    with Spool(tmp_path).receive("c1", announced(), MIXED) as upload:
        assert upload.offset == len(RAW)
        assert upload.finish() is None


def test_different_update_replaces_the_stored_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with spool.receive("c1", announced(), MIXED) as upload:
        upload.write(0, RAW[:50])
    with spool.receive("c10", announced(), MIXED) as upload:
        upload.write(0, RAW[:20])
    other = replace(announced(), digest=digest_of(b"other"))
    with spool.receive("c1", other, MIXED) as upload:
        assert upload.offset == 0
    assert (spool.offset("c1", announced()), spool.offset("c10", announced())) == (0, 20)


def test_damaged_complete_update_is_rejected(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    sent(spool, RAW, announced())
    (whole,) = tmp_path.rglob("*.whole")
    whole.write_bytes(b"\0" * len(RAW))
    with spool.receive("c1", announced(), MIXED) as upload:
        refusal = upload.finish()
    assert refusal is not None
    assert refusal.reason is UpdateRefusalReason.WRONG_DIGEST
    assert sent(spool, RAW, announced()) is None


def test_part_longer_than_the_update_is_discarded(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with spool.receive("c1", announced(), MIXED) as upload:
        upload.write(0, RAW[:50])
    (part,) = tmp_path.rglob("*.part")
    part.write_bytes(RAW + b"x")
    with spool.receive("c1", announced(), MIXED) as upload:
        assert upload.offset == 0
    assert sent(spool, RAW, announced()) is None


def test_part_deleted_during_open_is_received_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, system_open = Spool(tmp_path), os.open
    with spool.receive("c1", announced(), MIXED) as upload:
        upload.write(0, RAW)

    def vanishing(path: Path, *how: int) -> int:
        path.rename(tmp_path / "elsewhere")
        return system_open(path, *how)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", vanishing)
        upload = spool.receive("c1", announced(), MIXED)
    with upload:
        refusal = upload.finish()
    assert upload.offset == 0
    assert refusal is not None
    assert refusal.reason is UpdateRefusalReason.TOO_SHORT


def with_value(value: float) -> Callable[[str], bytes]:
    def make(name: str) -> bytes:
        model = rounded(MIXED, [1.0] * elements(MIXED))
        model[name][-1] = value
        return packed(MIXED, model)

    return make


@pytest.mark.parametrize("name", ["scale", "dense/kernel", "half", "brain", "scalar"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("chunk", [1, 3, 7, 1000])
def test_non_finite_value_is_refused_with_its_tensor(tmp_path: Path, name: str, value: float, chunk: int) -> None:
    raw = with_value(value)(name)
    refusal = sent(Spool(tmp_path), raw, announced(raw), chunk)
    assert refusal is not None
    assert refusal.reason is (UpdateRefusalReason.NOT_A_NUMBER if math.isnan(value) else UpdateRefusalReason.INFINITE)
    assert f"'{name}'" in refusal.message
    assert files(tmp_path) == []


def test_too_long_update_is_refused_at_the_first_extra_byte(tmp_path: Path) -> None:
    with Spool(tmp_path).receive("c1", announced(), MIXED) as upload:
        assert upload.write(0, RAW) is None
        refusal = upload.write(len(RAW), b"x")
    assert refusal is not None
    assert refusal.reason is UpdateRefusalReason.TOO_LONG


def test_too_short_update_can_resume(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    refusal = sent(spool, RAW[:-1], announced())
    assert refusal is not None
    assert (refusal.reason, refusal.reason.resend) == (UpdateRefusalReason.TOO_SHORT, True)
    assert spool.offset("c1", announced()) == len(RAW) - 1


def test_update_with_a_wrong_digest_is_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    refusal = sent(spool, bytes(len(RAW)), announced())
    assert refusal is not None
    assert refusal.reason is UpdateRefusalReason.WRONG_DIGEST
    assert sent(spool, RAW, announced()) is None


@pytest.mark.parametrize("offset", [0, 49, 51, -1])
def test_chunk_out_of_place_is_refused_and_changes_nothing(tmp_path: Path, offset: int) -> None:
    with Spool(tmp_path).receive("c1", announced(), MIXED) as upload:
        upload.write(0, RAW[:50])
        refusal = upload.write(offset, b"x")
        assert refusal is not None
        assert refusal.reason is UpdateRefusalReason.OUT_OF_PLACE
        assert upload.write(50, RAW[50:]) is None
        assert upload.finish() is None


def test_closed_rounds_are_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    sent(spool, RAW, announced())
    sent(spool, RAW, replace(announced(), round=2))
    spool.drop_through(1)
    assert [path.name for path in tmp_path.iterdir()] == ["000002"]
    spool.discard("c1", replace(announced(), round=2))
    assert files(tmp_path) == []


@pytest.mark.parametrize("peer", ["../c1", "", "a/b", "C1", "x" * 300])
def test_invalid_cluster_name_is_rejected(tmp_path: Path, peer: str) -> None:
    with pytest.raises(ValueError, match="invalid cluster name"):
        Spool(tmp_path).receive(peer, announced(), MIXED)


def test_invalid_digest_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="invalid digest"):
        Spool(tmp_path).receive("c1", replace(announced(), digest="../../../etc"), MIXED)


@settings(deadline=None)
@given(st.lists(st.integers(0, len(RAW)), max_size=20))
def test_validation_is_independent_of_chunk_boundaries(cuts: list[int]) -> None:
    inspection = Inspection(MIXED, announced())
    edges = [0, *sorted(cuts), len(RAW)]
    for start, end in pairwise(edges):
        assert inspection.feed(RAW[start:end]) is None
    assert inspection.finish() is None
