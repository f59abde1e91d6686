"""ring: every validator hears only the next one and the one before; the others' votes come through those."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.backends.base import Pair
from testbed.faults.links import CutFault


class Ring(CutFault):
    kind = "ring"
    removes_power = False
    fixed_target = "links"

    @classmethod
    def list_pairs(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> list[Pair]:
        count = len(node_ids)
        numbers = range(count)
        return [
            (node_ids[one], node_ids[other])
            for one in numbers
            for other in numbers
            if (one - other) % count not in (0, 1, count - 1)
        ]
