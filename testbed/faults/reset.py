"""reset: a validator's connections to its `peers` are reset once; without `peers`, to all others. They come back."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.faults.base import Fault, NotApplied
from testbed.needs import CUTS, LINKS


class Reset(Fault):
    kind = "reset"
    removes_power = False
    needs = frozenset({CUTS, LINKS})
    takes_peers = True
    _resets = 0

    @classmethod
    def is_void(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> bool:
        return not peers and len(node_ids) < 2

    def apply(self) -> None:
        self.wait_connected()
        self._others = self.peers or tuple(name for name in self.cluster.node_ids if name != self.node)
        self._resets = self.cluster.links.reset([(self.node, other) for other in self._others])

    def verify(self) -> str:
        if not self._resets:
            raise NotApplied(f"{self.node} had no connection to {', '.join(self._others)}")
        return self.describe_effect()

    def undo(self) -> None:
        pairs = [pair for other in self._others for pair in ((self.node, other), (other, self.node))]
        self.require(
            lambda: all(self.cluster.cuts.carries(pair) for pair in pairs),
            f"{self.node} to be connected again",
            f"nothing comes over {self.node}'s connections to {', '.join(self._others)} since they were reset",
        )

    def describe_effect(self) -> str:
        return f"{self._resets} connections of {self.node} were reset" if self._resets else ""
