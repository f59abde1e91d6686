"""Cuts between containers: which rules stand in whose network, what they count, and that they go again."""

from __future__ import annotations

import pytest

from testbed.backends.base import MESH
from testbed.backends.docker_cuts import PacketCuts, share_out
from testbed.faults.base import NotApplied
from testbed.faults.halves import Halves
from testbed.faults.partition import Partition
from testbed.faults.ring import Ring
from tests.testbed.faults.fakes import NODE, NODES, FakeCluster, FakeContainers

FROM_MESH = [(NODE, MESH), (MESH, NODE)]


def list_rules(containers: FakeContainers) -> dict[str, list[str]]:
    return {
        member: [rule for rules in chains.values() for rule in rules] for member, chains in containers.chains.items()
    }


def test_whoever_is_cut_off_drops_everything_itself() -> None:
    containers = FakeContainers()
    PacketCuts(containers).cut(Partition.list_pairs(NODE, (), NODES))
    rules = list_rules(containers)
    addresses = [f"100.64.0.{number}" for number in (2, 3, 4)]
    assert rules.pop(NODE) == [f"{side} {address} -j DROP" for address in addresses for side in ("-d", "-s")]
    assert not any(rules.values())


def test_on_the_bridge_addresses_are_those_of_the_bridge() -> None:
    containers = FakeContainers()
    containers.network = "bridge"
    PacketCuts(containers).cut(FROM_MESH)
    assert list_rules(containers)[NODE] == ["-d 192.168.16.5 -j DROP", "-s 192.168.16.5 -j DROP"]


def test_one_way_drops_one_way() -> None:
    containers = FakeContainers()
    PacketCuts(containers).cut([(NODE, "validator-2")])
    assert list_rules(containers)[NODE] == ["-d 100.64.0.2 -j DROP"]


def test_every_link_is_dropped_by_somebody_once() -> None:
    five = tuple(f"validator-{number}" for number in range(1, 6))
    for pairs in (Halves.list_pairs(five[0], five[1:2], five), Ring.list_pairs("", (), five)):
        shares = dict(share_out(pairs))
        assert sorted(pair for own in shares.values() for pair in own) == sorted(pairs)
        assert all(member in pair for member, own in shares.items() for pair in own)
    assert len(dict(share_out(Halves.list_pairs(five[0], five[1:2], five)))) == 2, "the smaller side is enough"


def test_cuts_add_up_and_are_counted_when_they_are_gone() -> None:
    containers = FakeContainers()
    cuts = PacketCuts(containers)
    cuts.cut(FROM_MESH)
    cuts.cut(FROM_MESH[:1])
    assert cuts.count_cut() == 3 * containers.packets
    cuts.heal(FROM_MESH)
    assert not cuts.carries(FROM_MESH[0])
    assert cuts.carries(FROM_MESH[1])
    cuts.heal(FROM_MESH[:1])
    assert cuts.carries(FROM_MESH[0])
    assert cuts.count_cut() == 3 * containers.packets
    assert not any(containers.chains.values())


def make_partition(containers: FakeContainers) -> Partition:
    cluster = FakeCluster()
    cluster.cuts = PacketCuts(containers)
    return Partition(cluster, NODE, 1)


def test_a_partition_is_verified_by_the_packets_that_were_dropped() -> None:
    fault = make_partition(FakeContainers())
    fault.apply()
    assert fault.verify() == "42 packets were cut off so far, on 6 links"
    assert fault.describe_effect() == "42 packets were cut off"
    fault.undo()


def test_invalid_nothing_comes_to_be_dropped() -> None:
    containers = FakeContainers()
    containers.drops_packets = False
    fault = make_partition(containers)
    fault.apply()
    with pytest.raises(NotApplied, match="nobody sent anything over the links cut"):
        fault.verify()
    assert fault.describe_effect() == ""


def test_invalid_peer_is_not_on_the_tailnet() -> None:
    containers = FakeContainers()
    containers.down.add((NODE, "sidecar"))
    with pytest.raises(NotApplied, match="validator-1's sidecar does not know validator-2's address"):
        make_partition(containers).apply()


@pytest.mark.parametrize("verb", ["apply", "undo"])
def test_invalid_packet_filter_that_does_not_obey(verb: str) -> None:
    containers = FakeContainers()
    fault = make_partition(containers)
    if verb == "undo":
        fault.apply()
    containers.obeys = False
    with pytest.raises(NotApplied, match="in validator-1's network ended with 1"):
        getattr(fault, verb)()
