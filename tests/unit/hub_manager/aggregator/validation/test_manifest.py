"""Accepted models, and the offset of each value."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model import DType, ModelManifest, TensorSpec, digest_of, manifest_of
from hub_manager.aggregator.validation.manifest import AnnouncedTensor, ModelLimits, read_manifest
from hub_manager.aggregator.validation.refusal import UpdateRefusal, UpdateRefusalReason
from hub_manager.aggregator.validation.update import layout_refusal

LIMITS = ModelLimits(max_bytes=1 << 20, max_tensors=8)


def tensor(name: str = "w", dtype: str = "float32", shape: tuple[int, ...] = (2, 3)) -> AnnouncedTensor:
    return AnnouncedTensor(name, dtype, shape)


HOSTILE: dict[str, tuple[list[AnnouncedTensor], UpdateRefusalReason]] = {
    "nothing": ([], UpdateRefusalReason.NO_TENSORS),
    "only empty tensors": ([tensor(shape=(0, 3))], UpdateRefusalReason.NO_TENSORS),
    "nine tensors": ([tensor(f"w{index}") for index in range(9)], UpdateRefusalReason.TOO_MANY_TENSORS),
    "the same name twice": ([tensor(), tensor()], UpdateRefusalReason.DUPLICATE_TENSOR),
    "no name": ([tensor("")], UpdateRefusalReason.TENSOR_NAME),
    "a lone surrogate": ([tensor("\ud800")], UpdateRefusalReason.TENSOR_NAME),
    "a line's end": ([tensor("a\nb")], UpdateRefusalReason.TENSOR_NAME),
    "a name of 2 KB": ([tensor("é" * 1000)], UpdateRefusalReason.TENSOR_NAME),
    "the name that safetensors keeps": ([tensor("__metadata__")], UpdateRefusalReason.TENSOR_NAME),
    "an integer": ([tensor(dtype="int64")], UpdateRefusalReason.TENSOR_TYPE),
    "no type": ([tensor(dtype="")], UpdateRefusalReason.TENSOR_TYPE),
    "negative": ([tensor(shape=(-1, 3))], UpdateRefusalReason.TENSOR_SHAPE),
    "two negatives": ([tensor(shape=(-2, -3))], UpdateRefusalReason.TENSOR_SHAPE),
    "33 dimensions": ([tensor(shape=(1,) * 33)], UpdateRefusalReason.TENSOR_SHAPE),
    "overflows 64 bits": ([tensor(shape=(1 << 32, 1 << 32))], UpdateRefusalReason.MODEL_TOO_LARGE),
    "overflow hidden by nought": (
        [tensor(shape=(1 << 62, 0, 1 << 62)), tensor("x")],
        UpdateRefusalReason.MODEL_TOO_LARGE,
    ),
    "too large together": (
        [tensor("a", shape=(1 << 17,)), tensor("b", shape=(1 << 18,))],
        UpdateRefusalReason.MODEL_TOO_LARGE,
    ),
    "another order": ([tensor("b"), tensor("a")], UpdateRefusalReason.TENSOR_ORDER),
    "narrow before wide": ([tensor("a"), tensor("b", "float64")], UpdateRefusalReason.TENSOR_ORDER),
}


@pytest.mark.parametrize(("announced", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_refuses_a_hostile_manifest_by_name(announced: list[AnnouncedTensor], reason: UpdateRefusalReason) -> None:
    refused = read_manifest(announced, LIMITS)
    assert isinstance(refused, UpdateRefusal)
    assert refused.reason is reason
    assert len(refused.message) < 400


SPECS = st.lists(
    st.builds(
        TensorSpec,
        st.text("abcé/.", min_size=1, max_size=5),
        st.sampled_from(DType),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda spec: spec.name,
)


@settings(deadline=None)
@given(SPECS, st.randoms())
def test_order_of_the_tensors_does_not_change_the_layout(specs: list[TensorSpec], random: object) -> None:
    shuffled = list(specs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert manifest_of(shuffled) == manifest_of(specs)
    assert manifest_of(shuffled).digest == manifest_of(specs).digest


@settings(deadline=None)
@given(SPECS)
def test_sections_cover_the_layout_and_every_value_is_aligned(specs: list[TensorSpec]) -> None:
    manifest = manifest_of(specs)
    assert sum(section.nbytes for section in manifest.sections()) == manifest.nbytes
    for section in manifest.sections():
        assert section.offset % section.dtype.width == 0
    for spec, offset in manifest.placed():
        assert offset % spec.dtype.width == 0
        if spec.nbytes:
            assert manifest.tensor_at(offset) == manifest.tensor_at(offset + spec.nbytes - 1) == spec


@settings(deadline=None)
@given(SPECS)
def test_accepts_manifests_in_the_layout_of_the_rule(specs: list[TensorSpec]) -> None:
    manifest = manifest_of(specs)
    found = read_manifest(announced_of(manifest), LIMITS)
    assert found == manifest if manifest.nbytes else isinstance(found, UpdateRefusal)


def test_offset_outside_the_layout_is_an_error() -> None:
    with pytest.raises(IndexError):
        manifest_of([TensorSpec("w", DType.FLOAT32, (1,))]).tensor_at(4)


def test_digest_is_blake3_of_all_parts() -> None:
    # The test vector of an empty input: https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors
    assert digest_of() == "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digest_of(b"a", b"b") == digest_of(b"ab")


MODEL = manifest_of([TensorSpec("b", DType.FLOAT32, (3,)), TensorSpec("w", DType.FLOAT32, (4, 3))])
OTHERS: dict[str, tuple[list[AnnouncedTensor], UpdateRefusalReason]] = {
    "missing": ([tensor("b", shape=(3,))], UpdateRefusalReason.MISSING_TENSOR),
    "extra": ([tensor("b", shape=(3,)), tensor("w", shape=(4, 3)), tensor("x")], UpdateRefusalReason.EXTRA_TENSOR),
    "twice": (
        [tensor("b", shape=(3,)), tensor("b", shape=(3,)), tensor("w", shape=(4, 3))],
        UpdateRefusalReason.EXTRA_TENSOR,
    ),
    "transposed": ([tensor("b", shape=(3,)), tensor("w", shape=(3, 4))], UpdateRefusalReason.WRONG_SHAPE),
    "broadcastable": ([tensor("b", shape=(1, 3)), tensor("w", shape=(4, 3))], UpdateRefusalReason.WRONG_SHAPE),
    "flat": ([tensor("b", shape=(3,)), tensor("w", shape=(12,))], UpdateRefusalReason.WRONG_SHAPE),
    "another type": ([tensor("b", "float64", (3,)), tensor("w", shape=(4, 3))], UpdateRefusalReason.WRONG_TYPE),
    "another order": ([tensor("w", shape=(4, 3)), tensor("b", shape=(3,))], UpdateRefusalReason.TENSOR_ORDER),
}


@pytest.mark.parametrize(("announced", "reason"), OTHERS.values(), ids=OTHERS.keys())
def test_model_that_differs_from_the_run_is_refused(
    announced: list[AnnouncedTensor], reason: UpdateRefusalReason
) -> None:
    refused = layout_refusal(announced, MODEL)
    assert refused is not None
    assert refused.reason is reason


def test_model_of_the_run_is_accepted() -> None:
    assert layout_refusal(announced_of(MODEL), MODEL) is None


def announced_of(manifest: ModelManifest) -> list[AnnouncedTensor]:
    return [AnnouncedTensor(spec.name, spec.dtype.value, spec.shape) for spec in manifest.tensors]
