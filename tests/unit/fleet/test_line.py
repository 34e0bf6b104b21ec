"""The rules that make a line cut, lossy or whole, and a site's edge."""

from pathlib import Path

import pytest

from fleet.cluster.network import Link, firewall, link_rules
from fleet.layout import Layout

LAYOUT = Layout(Path("/fleet"), Path("/cache"))


@pytest.mark.parametrize(
    ("link", "rules"),
    [
        pytest.param(Link(), (), id="whole"),
        pytest.param(Link(cut=True), ("-A FLEET-LINK -j DROP",), id="cut"),
        pytest.param(
            Link(loss=0.25), ("-A FLEET-LINK -m statistic --mode random --probability 0.2500 -j DROP",), id="lossy"
        ),
        pytest.param(Link(cut=True, loss=0.25), ("-A FLEET-LINK -j DROP",), id="cut wins over lossy"),
    ],
)
def test_a_line_has_the_rules_of_its_state(link: Link, rules: tuple[str, ...]) -> None:
    assert link_rules(link) == rules


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_loss_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="give a share from 0 to 1"):
        Link(loss=share)


def test_only_the_hub_lets_connections_in() -> None:
    assert "ACCEPT" in firewall(LAYOUT, LAYOUT.cluster("hub"))
    assert "ACCEPT" not in firewall(LAYOUT, LAYOUT.cluster("spoke1"))


def test_a_cluster_that_is_not_of_the_fleet_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="a fleet has 'hub' and spoke1, spoke2, spoke3, spoke4"):
        LAYOUT.cluster("spoke5")
