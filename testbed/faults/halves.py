"""halves: a validator with its `peers` and all others do not hear each other; without `peers`, half of them."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.backends.base import Pair
from testbed.faults.links import CutFault


class Halves(CutFault):
    kind = "halves"
    removes_power = True
    takes_peers = True

    @classmethod
    def find_broken(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> frozenset[str]:
        """Those on the node's side: where theirs is the greater side, nobody can go on that we watch."""
        return frozenset(list_half(node, peers, node_ids)) & set(node_ids)

    @classmethod
    def list_pairs(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> list[Pair]:
        half = list_half(node, peers, node_ids)
        others = [name for name in node_ids if name not in half]
        return [pair for one in half for other in others for pair in ((one, other), (other, one))]


def list_half(node: str, peers: Sequence[str], node_ids: Sequence[str]) -> list[str]:
    """The node's side: itself and its peers, or as many that follow it as make a half."""
    if peers:
        return [node, *peers]
    start = list(node_ids).index(node)
    return [node_ids[(start + step) % len(node_ids)] for step in range(max(len(node_ids) // 2, 1))]
