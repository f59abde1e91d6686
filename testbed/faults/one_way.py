"""one_way: a validator hears its `peers` and they do not hear it; without `peers`, all others do not."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.backends.base import Pair
from testbed.faults.links import CutFault


class OneWay(CutFault):
    kind = "one_way"
    removes_power = True
    takes_peers = True

    @classmethod
    def find_broken(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> frozenset[str]:
        """Validators relay: a node is mute only where no other validator hears it."""
        others = set(node_ids) - {node}
        return frozenset({node} if others and (not peers or others <= set(peers)) else ())

    @classmethod
    def list_pairs(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> list[Pair]:
        return [(node, other) for other in peers or node_ids if other != node]
