"""partition: nothing passes between a member and its `peers`; without `peers`, all other members, the mesh too."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.backends.base import MESH, Pair
from testbed.faults.links import CutFault


class Partition(CutFault):
    kind = "partition"
    removes_power = True
    takes_peers = True

    @classmethod
    def find_broken(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> frozenset[str]:
        """Validators relay: a node is cut off only where no other validator is left to it."""
        others = set(node_ids) - {node}
        return frozenset({node} if others and (not peers or others <= set(peers)) else ())

    @classmethod
    def list_pairs(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> list[Pair]:
        others = peers or (*(name for name in node_ids if name != node), MESH)
        return [pair for other in others for pair in ((node, other), (other, node))]
