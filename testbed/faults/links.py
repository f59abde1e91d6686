"""What faults of links have in common: pairs between which nothing passes, or messages that fare badly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from testbed.backends.base import Pair
from testbed.faults.base import Fault, NotApplied
from testbed.needs import LINKS


class CutFault(Fault):
    """Some directed links carry nothing."""

    needs = frozenset({LINKS})

    @classmethod
    def list_pairs(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> list[Pair]:
        """The links that are cut, (from, to)."""
        raise NotImplementedError

    def apply(self) -> None:
        self._links = self.cluster.links
        self._pairs = self.list_pairs(self.node, self.peers, self.cluster.node_ids)
        if not self._pairs:
            raise NotApplied(f"{self.kind} cuts nothing among {len(self.cluster.node_ids)} validators")
        self._before = self._links.count("cut")
        self._links.cut(self._pairs)

    def verify(self) -> str:
        self.require(lambda: self._count() > 0, "a message to be cut off", "nobody sent anything over the links cut")
        return f"{self._count()} messages were cut off so far, on {len(self._pairs)} links"

    def undo(self) -> None:
        self._links.heal(self._pairs)
        left = [pair for pair in self._pairs if self._links.is_cut(pair)]
        if left:
            raise NotApplied(f"{len(left)} links are still cut after {self.kind}")

    def describe_effect(self) -> str:
        return f"{self._count()} messages were cut off" if self._count() else ""

    def _count(self) -> int:
        return self._links.count("cut") - self._before


class RateFault(Fault):
    """Messages between all validators fare worse than before."""

    removes_power = False
    needs = frozenset({LINKS})
    fixed_target = "links"
    rate: ClassVar[float]
    counted: ClassVar[str]
    """What the links count of it."""

    def change(self, sign: int) -> None:
        self.cluster.links.change_rate(self.kind, sign * self.rate)

    def apply(self) -> None:
        self._before = self.cluster.links.count(self.counted)
        self.change(1)

    def verify(self) -> str:
        self.require(lambda: self._count() > 0, f"a message: {self.kind}", f"no message met {self.kind}")
        return self.describe_effect()

    def undo(self) -> None:
        self.change(-1)

    def describe_effect(self) -> str:
        return f"{self.kind} met {self._count()} messages" if self._count() else ""

    def _count(self) -> int:
        return self.cluster.links.count(self.counted) - self._before
