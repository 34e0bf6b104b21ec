"""Where a collaborator may connect to."""

import pytest

from spoke_agent.collaborator.planning.network import destination_of, egress_rules


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("198.51.100.7:30051", "198.51.100.7", 30051),
        ("10.200.0.10:31000", "10.200.0.10", 31000),
        ("[2001:db8::1]:443", "2001:db8::1", 443),
        ("fl.hub.example:443", "fl.hub.example", 443),
        ("digits-server.research-a.svc:8080", "digits-server.research-a.svc", 8080),
    ],
)
def test_reads_an_address(address: str, host: str, port: int) -> None:
    destination = destination_of(address)

    assert (destination.host, destination.port) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "hub",
        "hub:",
        ":1",
        "hub:0",
        "hub:65536",
        "hub:1x",
        "2001:db8::1:443",
        "[198.51.100.7]:443",
        "[hub]:443",
        "10.0.0.0/8:443",
        "127.1:443",
        "010.0.0.1:443",
        "hub.1:443",
        "0x7f000001:443",
        "localhost:443",
        "127.0.0.1:443",
        "0.0.0.0:443",
        "169.254.169.254:80",
        "224.0.0.1:443",
        "[::1]:443",
        "[::]:443",
        "[fe80::1]:443",
        "[fd00:ec2::254]:80",
        "[::ffff:169.254.169.254]:80",
        "a,b:443",
        "-hub:443",
    ],
)
def test_refuses_what_is_no_address_or_one_within_a_node(address: str) -> None:
    with pytest.raises(ValueError, match="write"):
        destination_of(address)


def test_an_address_gets_that_address_and_no_name_server() -> None:
    assert egress_rules([destination_of("198.51.100.7:30051"), destination_of("[2001:db8::1]:443")]) == [
        {"to": [{"ipBlock": {"cidr": "198.51.100.7/32"}}], "ports": [{"protocol": "TCP", "port": 30051}]},
        {"to": [{"ipBlock": {"cidr": "2001:db8::1/128"}}], "ports": [{"protocol": "TCP", "port": 443}]},
    ]


def test_a_name_gets_its_port_and_a_name_server_but_nothing_within_a_node() -> None:
    port, names = egress_rules([destination_of("fl.hub.example:443")])

    assert port["ports"] == [{"protocol": "TCP", "port": 443}]
    assert [peer["ipBlock"]["cidr"] for peer in port["to"]] == ["0.0.0.0/0", "::/0"]
    assert "169.254.0.0/16" in port["to"][0]["ipBlock"]["except"]
    assert "fe80::/10" in port["to"][1]["ipBlock"]["except"]
    assert {(each["protocol"], each["port"]) for each in names["ports"]} == {
        ("UDP", 53),
        ("TCP", 53),
        ("UDP", 5353),
        ("TCP", 5353),
    }
