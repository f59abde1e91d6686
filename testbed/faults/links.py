"""What faults of links have in common: pairs between which nothing passes, or messages that fare badly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from testbed.backends.base import Losses, Pair
from testbed.faults.base import Fault, NotApplied
from testbed.needs import CUTS, LINKS


class CutFault(Fault):
    """Some directed links carry nothing."""

    needs = frozenset({CUTS})

    @classmethod
    def list_pairs(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> list[Pair]:
        """The links that are cut, (from, to)."""
        raise NotImplementedError

    @classmethod
    def is_void(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> bool:
        return not cls.list_pairs(node, peers, node_ids)

    def apply(self) -> None:
        self._cuts = self.cluster.cuts
        if self.node in self.cluster.node_ids:
            self.get_height_before()
        self._pairs = self.list_pairs(self.node, self.peers, self.cluster.node_ids)
        if not self._pairs:
            raise NotApplied(f"{self.kind} cuts nothing among {len(self.cluster.node_ids)} validators")
        self._before = self._cuts.count_cut()
        self._cuts.cut(self._pairs)

    def verify(self) -> str:
        unit = self._cuts.unit
        self.require(lambda: self._count() > 0, f"{unit} to be cut off", "nobody sent anything over the links cut")
        return f"{self._count()} {unit} were cut off so far, on {len(self._pairs)} links"

    def undo(self) -> None:
        self._cuts.heal(self._pairs)

        def list_cut() -> list[str]:
            return [f"{one} to {other}" for one, other in self._pairs if not self._cuts.carries((one, other))]

        self.require(
            lambda: not list_cut(),
            "every link to carry something again",
            lambda: f"nothing came over {len(list_cut())} links after {self.kind}: {', '.join(list_cut())}",
        )

    def describe_effect(self) -> str:
        count = self._count()
        return f"{count} {self._cuts.unit} were cut off" if count else ""

    def _count(self) -> int:
        return self._cuts.count_cut() - self._before


class RateFault(Fault):
    """Messages between all validators fare worse than before."""

    removes_power = False
    needs = frozenset({LINKS})
    fixed_target = "links"
    rate: ClassVar[float]
    counted: ClassVar[str]
    """What the links count of it."""

    @property
    def traffic(self) -> Losses:
        """What it acts through."""
        return self.cluster.links

    @classmethod
    def is_void(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> bool:
        return len(node_ids) < 2

    def change(self, sign: int) -> None:
        self.traffic.change_rate(self.kind, sign * self.rate)

    def apply(self) -> None:
        self._before = self.traffic.count(self.counted)
        self.change(1)

    def verify(self) -> str:
        unit = self.traffic.unit
        self.require(lambda: self._count() > 0, f"{unit} that meet {self.kind}", f"no {unit} met {self.kind}")
        return self.describe_effect()

    def undo(self) -> None:
        self.change(-1)
        seen = (0, 0)

        def is_gone() -> bool:
            """Something has been sent since the last look, and none of it has met it."""
            nonlocal seen
            last_sent, last_met = seen
            seen = (self.traffic.count("sent"), self.traffic.count(self.counted))
            return 0 < last_sent < seen[0] and seen[1] == last_met

        unit = self.traffic.unit
        self.require(is_gone, f"{unit} without {self.kind}", f"{unit} still meet {self.kind} after it was undone")

    def describe_effect(self) -> str:
        count = self._count()
        return f"{self.kind} met {count} {self.traffic.unit}" if count else ""

    def _count(self) -> int:
        return self.traffic.count(self.counted) - self._before
