"""The images that a policy admits, and names that are invalid as image references."""

import pytest

from spoke_agent.collaborator.planning.image_reference import admits, image_of

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("entry", "image"),
    [
        ("registry.example/fl/", "registry.example/fl/digits:1"),
        ("registry.example/fl/", "registry.example/fl/deep/digits"),
        ("registry.example:5000/", f"registry.example:5000/digits@{A}"),
        ("localhost/fleet/", "localhost/fleet/digits:0a1b"),
        (f"registry.example/fl/digits@{A}", f"registry.example/fl/digits@{A}"),
        (f"registry.example/fl/digits@{A}", f"registry.example/fl/digits:latest@{A}"),
        (f"registry.example/fl/digits:1@{A}", f"registry.example/fl/digits@{A}"),
    ],
)
def test_admits(entry: str, image: str) -> None:
    assert admits([entry], image_of(image))


@pytest.mark.parametrize(
    ("entry", "image"),
    [
        ("registry.example/fl/", "registry.example/fl-evil/digits"),
        ("registry.example/fl/", "registry.example/fl:1"),
        ("registry.example/fl/", "registry.example.evil.com/fl/digits"),
        ("registry.example/fl/", "evil.com/registry.example/fl/digits"),
        ("registry.example/", "registry.example:5000/digits"),
        ("registry.example/fl", "registry.example/fl"),
        ("registry.example/fl/digits:1", "registry.example/fl/digits:1"),
        (f"registry.example/fl/digits@{A}", f"registry.example/fl/digits@{B}"),
        (f"registry.example/fl/digits@{A}", "registry.example/fl/digits:1"),
        (f"registry.example/fl/digits@{A}", f"registry.example/fl/other@{A}"),
        ("", "registry.example/fl/digits"),
    ],
)
def test_does_not_admit(entry: str, image: str) -> None:
    assert not admits([entry], image_of(image))


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "digits",
        "fl/digits:1",
        "registry.example/",
        "registry.example/fl//digits",
        "registry.example/fl/../digits",
        "registry.example/./digits",
        "registry.example/FL/digits",
        "registry.example/fl/digits:",
        "registry.example/fl/digits@sha256:abc",
        f"registry.example/fl/digits@{A}@{B}",
        f"registry.example/fl/digits@{A}/x",
        "registry.example/fl/digits:1:2",
        "registry.example/fl/digits\n",
        "registry.example/fl/digits %2e%2e",
        "https://registry.example/fl/digits",
        "user@registry.example/fl/digits",
        "registry.example/" + "a" * 512,
    ],
)
def test_refuses_what_is_no_reference_with_a_registry(reference: str) -> None:
    with pytest.raises(ValueError, match="write REGISTRY/PATH"):
        image_of(reference)
