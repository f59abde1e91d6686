"""Loss between containers: which rules stand in whose network, what they count, and that nothing is lost afterwards."""

from __future__ import annotations

import pytest

from testbed.backends.docker_losses import PacketLosses
from testbed.faults.base import NotApplied
from testbed.faults.loss import Loss
from tests.testbed.faults.fakes import NODE, NODES, FakeCluster, FakeContainers


def make_fault(containers: FakeContainers) -> Loss:
    cluster = FakeCluster()
    cluster.losses = PacketLosses(containers, NODES)
    return Loss(cluster, "links", 1)


def list_rules(containers: FakeContainers) -> list[str]:
    return [rule for rules in containers.chains[NODE].values() for rule in rules]


def test_each_validator_drops_some_of_what_it_gets() -> None:
    containers = FakeContainers()
    PacketLosses(containers, NODES).change_rate("loss", 0.3)
    some = "-m statistic --mode random --probability 0.300000 -j DROP"
    assert list_rules(containers) == [
        f"-s 100.64.0.2 {some}",
        "-s 100.64.0.2 -j RETURN",
        f"-s 100.64.0.3 {some}",
        "-s 100.64.0.3 -j RETURN",
    ]
    assert all("OUTPUT" not in script for _, script in containers.scripts)


def test_packets_are_counted_on_and_nothing_is_dropped_once_it_is_undone() -> None:
    containers = FakeContainers()
    losses = PacketLosses(containers, NODES)
    losses.change_rate("loss", 0.3)
    assert losses.count("lost") == 3 * 2 * containers.packets
    assert losses.count("sent") == 3 * 4 * containers.packets
    losses.change_rate("loss", -0.3)
    assert list_rules(containers) == ["-s 100.64.0.2 -j RETURN", "-s 100.64.0.3 -j RETURN"]
    assert losses.count("lost") == 3 * 2 * containers.packets
    assert losses.count("sent") == 3 * 6 * containers.packets


def test_rates_add_up() -> None:
    containers = FakeContainers()
    losses = PacketLosses(containers, NODES)
    losses.change_rate("loss", 0.1)
    losses.change_rate("loss", 0.2)
    assert "0.300000" in list_rules(containers)[0]


def test_loss_is_verified_and_undone() -> None:
    containers = FakeContainers()
    containers.has_traffic = True
    fault = make_fault(containers)
    fault.apply()
    assert fault.verify().startswith("loss met ")
    assert fault.describe_effect().endswith(" packets")
    fault.undo()


def test_invalid_nothing_is_lost() -> None:
    containers = FakeContainers()
    containers.drops_packets = False
    fault = make_fault(containers)
    fault.apply()
    with pytest.raises(NotApplied, match="no packets met loss"):
        fault.verify()


def test_invalid_kernel_without_the_match() -> None:
    containers = FakeContainers()
    containers.obeys = False
    with pytest.raises(NotApplied, match="No chain/target/match"):
        make_fault(containers).apply()


def test_invalid_not_seen_to_be_gone() -> None:
    fault = make_fault(FakeContainers())
    fault.apply()
    fault.verify()
    with pytest.raises(NotApplied, match="packets still meet loss after it was undone"):
        fault.undo()
