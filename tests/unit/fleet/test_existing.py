"""Existing clusters, named by environment variables."""

from pathlib import Path

import pytest

from fleet.existing import from_environment


def test_hub_and_spokes_are_found_by_their_kubeconfigs(tmp_path: Path) -> None:
    for name in ("hub", "a", "b"):
        (tmp_path / name).touch()
    found = from_environment(
        {
            "FLEET_HUB": str(tmp_path / "hub"),
            "FLEET_SPOKES": f"a={tmp_path / 'a'},b={tmp_path / 'b'}",
            "FLEET_LOAD_IMAGE": "load --to 'a cluster'",
        }
    )
    assert found.clusters == ("hub", "a", "b")
    assert found.kubeconfig("b") == tmp_path / "b"
    assert found.image_loader == ("load", "--to", "a cluster")


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        pytest.param({}, "FLEET_HUB is missing", id="no hub"),
        pytest.param({"FLEET_HUB": "/x"}, "FLEET_SPOKES is missing or invalid: write name=kubeconfig", id="no spokes"),
        pytest.param(
            {"FLEET_HUB": "/x", "FLEET_SPOKES": "a"},
            "FLEET_SPOKES is missing or invalid: write name=kubeconfig",
            id="no path",
        ),
        pytest.param(
            {"FLEET_HUB": "/x", "FLEET_SPOKES": "a=/y"}, "kubeconfig not found: hub: /x, a: /y", id="no files"
        ),
    ],
)
def test_a_wrong_variable_is_named_with_its_remedy(environment: dict[str, str], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        from_environment(environment)
