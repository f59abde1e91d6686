"""Rules in a member's network: inserted, counted, removed as one; whatever fails is no fault."""

from __future__ import annotations

import pytest

from testbed.faults.base import NotApplied
from testbed.faults.firewall import DROP, Firewall, find_subnet, list_underlay_addresses, make_guard
from tests.testbed.faults.fakes import NODE, FakeContainers


def test_rules_stand_first_and_go_again() -> None:
    containers = FakeContainers()
    firewall = Firewall(containers, NODE, "partition", [("-s", "100.64.0.2", *DROP), ("-d", "100.64.0.2", *DROP)])
    firewall.insert()
    assert containers.scripts[0][1].splitlines() == [
        "iptables -w -N tana-partition && iptables -w -A tana-partition -s 100.64.0.2 -j DROP"
        " && iptables -w -A tana-partition -d 100.64.0.2 -j DROP"
        " && iptables -w -I INPUT -j tana-partition && iptables -w -I OUTPUT -j tana-partition"
    ]
    assert firewall.count_dropped() == 14
    firewall.remove()
    assert containers.chains[NODE] == {}


def test_guard_lets_underlay_and_tailnet_through() -> None:
    containers = FakeContainers()
    guard = make_guard(containers, NODE, find_subnet(containers, NODE))
    guard.insert()
    assert containers.chains[NODE]["tana-guard"] == [
        "-o lo -j RETURN",
        "-o tailscale0 -j RETURN",
        "-d 192.168.16.0/20 -j RETURN",
        "-j DROP",
    ]
    assert "INPUT" not in containers.scripts[0][1]
    assert guard.count_dropped() == 7, "only what is dropped counts"


def test_addresses_of_the_underlay() -> None:
    containers = FakeContainers()
    assert list_underlay_addresses(containers, NODE) == ["192.168.16.2/20"]
    containers.disconnect(NODE)
    assert list_underlay_addresses(containers, NODE) == []
    with pytest.raises(NotApplied, match="validator-1 has no address on the underlay"):
        find_subnet(containers, NODE)


def test_invalid_chain_is_not_there() -> None:
    with pytest.raises(NotApplied, match="No chain/target/match"):
        Firewall(FakeContainers(), NODE, "partition", []).count_dropped()


def test_invalid_chain_is_there_already() -> None:
    containers = FakeContainers()
    Firewall(containers, NODE, "partition", []).insert()
    with pytest.raises(NotApplied, match="in validator-1's network ended with 1"):
        Firewall(containers, NODE, "partition", []).insert()
