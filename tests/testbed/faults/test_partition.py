"""partition: who is cut off from whom, at which addresses, and what that does to the voting power."""

from __future__ import annotations

import pytest

from testbed.backends.base import MESH
from testbed.faults.base import NotApplied
from testbed.faults.partition import Partition
from tests.testbed.faults.fakes import NODE, NODES, FakeCluster


def list_rules(cluster: FakeCluster) -> list[str]:
    return cluster.containers.chains[NODE]["tana-partition"]


def test_from_everybody() -> None:
    cluster = FakeCluster()
    fault = Partition(cluster, NODE, 1)
    fault.apply()
    addresses = [f"100.64.0.{number}" for number in (2, 3, 4)]
    assert list_rules(cluster) == [f"{side} {address} -j DROP" for address in addresses for side in ("-s", "-d")]
    assert fault.verify() == "42 packets between validator-1 and validator-2, validator-3, mesh dropped so far"


def test_from_one_peer() -> None:
    cluster = FakeCluster()
    Partition(cluster, NODE, 1, ["validator-3"]).apply()
    assert list_rules(cluster) == ["-s 100.64.0.3 -j DROP", "-d 100.64.0.3 -j DROP"]


def test_on_the_bridge() -> None:
    cluster = FakeCluster()
    cluster.containers.network = "bridge"
    Partition(cluster, NODE, 1, [MESH]).apply()
    assert list_rules(cluster) == ["-s 192.168.16.5 -j DROP", "-d 192.168.16.5 -j DROP"]


@pytest.mark.parametrize(
    ("peers", "broken"),
    [
        ((), {NODE}),
        (("validator-2", "validator-3"), {NODE}),
        (("validator-2", "validator-3", MESH), {NODE}),
        (("validator-2",), set()),  # the third relays
        ((MESH,), set()),
    ],
)
def test_power_that_it_takes_away(peers: tuple[str, ...], broken: set[str]) -> None:
    assert Partition.find_broken(NODE, peers, NODES) == broken


def test_invalid_nothing_comes_to_be_dropped() -> None:
    cluster = FakeCluster()
    cluster.containers.drops_packets = False
    fault = Partition(cluster, NODE, 1, ["validator-2"])
    fault.apply()
    with pytest.raises(NotApplied, match="no packet between validator-1 and validator-2 came to be dropped"):
        fault.verify()
    assert fault.describe_effect() == ""


def test_invalid_peer_is_not_on_the_tailnet() -> None:
    cluster = FakeCluster()
    cluster.containers.down.add((NODE, "sidecar"))
    with pytest.raises(NotApplied, match="validator-1's sidecar does not know validator-2's address"):
        Partition(cluster, NODE, 1).apply()
