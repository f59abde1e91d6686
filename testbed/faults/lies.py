"""lies: some validators lie in one way, until they are told to be honest again. See docs/byzantine.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from testbed.byzantine import Trigger
from testbed.byzantine.wish import write_wish
from testbed.faults.base import Cluster, Fault, NotApplied


class LyingCluster(Cluster, Protocol):
    """A cluster whose nodes say when they lie."""

    def count_lies(self, node: str, behaviour: str) -> int:
        """About how many heights a node says that it has lied."""


@dataclass(frozen=True)
class Plot:
    """Who lies how and when; `seed` decides everything that is left to chance."""

    nodes: tuple[str, ...]
    behaviour: str
    trigger: Trigger
    seed: int


class Lies(Fault):
    """Its own constructor sets it apart: a scenario says `do = "byzantine"`, with fields of its own."""

    kind = "lies"
    removes_power = False

    def __init__(self, cluster: LyingCluster, plot: Plot, timeout_ms: int) -> None:
        super().__init__(cluster, ", ".join(plot.nodes), timeout_ms)
        self._liars = cluster
        self._plot = plot
        self._before: dict[str, int] = {}

    def apply(self) -> None:
        for node in self._plot.nodes:
            if not self.cluster.is_running(node):
                raise NotApplied(f"{node} was not running")
            self._before[node] = self._liars.count_lies(node, self._plot.behaviour)
            accomplices = tuple(other for other in self._plot.nodes if other != node)
            wish = write_wish(self._plot.behaviour, self._plot.trigger, f"{self._plot.seed}/{node}", accomplices)
            self.cluster.control(node, "byzantine", wish)

    def has_begun(self) -> bool:
        """Whether each of them has said that it lied."""
        return all(self._count(node) for node in self._plot.nodes)

    def verify(self) -> str:
        self.require(
            self.has_begun,
            f"{self.node} to lie",
            lambda: ", ".join(node for node in self._plot.nodes if not self._count(node)) + " told no lie",
        )
        return f"{self.node} said: lying by {self._plot.behaviour}"

    def undo(self) -> None:
        for node in self._plot.nodes:
            self.cluster.control(node, "byzantine", "")

    def describe_effect(self) -> str:
        counts = [f"{node} lied about {self._count(node)} heights" for node in self._plot.nodes if self._count(node)]
        return ", ".join(counts)

    def _count(self, node: str) -> int:
        return self._liars.count_lies(node, self._plot.behaviour) - self._before[node]
