"""partition: who is cut off from whom, and what that does to the voting power."""

from __future__ import annotations

import pytest

from testbed.backends.base import MESH
from testbed.faults.base import NotApplied
from testbed.faults.partition import Partition
from tests.testbed.faults.fakes import NODE, NODES, FakeCluster


def test_from_everybody_the_mesh_too() -> None:
    pairs = Partition.list_pairs(NODE, (), NODES)
    others = ("validator-2", "validator-3", MESH)
    assert set(pairs) == {(NODE, other) for other in others} | {(other, NODE) for other in others}


def test_from_one_peer() -> None:
    assert Partition.list_pairs(NODE, (MESH,), NODES) == [(NODE, MESH), (MESH, NODE)]


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


def test_invalid_node_does_not_run() -> None:
    cluster = FakeCluster()
    cluster.is_up = False
    with pytest.raises(NotApplied, match="validator-1 was not running"):
        Partition(cluster, NODE, 1).apply()
