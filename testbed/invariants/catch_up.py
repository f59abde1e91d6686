"""Catch-up: a node that was behind has what the others had, within a bound from the moment on at which it must go on.

The bound is in the cluster's time and grows with how far behind it is.
"""

from __future__ import annotations

from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, Expectation, NodeFacts
from testbed.needs import EXPECTATIONS, STEPS

BOUND_MS = 60_000
MS_PER_HEIGHT = 100


class CatchUp(Invariant):
    number = 19
    name = "catch_up"
    needs = frozenset({STEPS, EXPECTATIONS})

    def __init__(self) -> None:
        super().__init__()
        self._targets: dict[str, tuple[int, int]] = {}
        """By node that is behind: the height it must reach, and how many heights that were."""
        self._since: dict[str, int] = {}
        """Since when it must."""
        self._caught_up = 0
        self._heights = 0

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        self._note(node)

    def on_expect(self, expectation: Expectation) -> None:
        self._judge_all()
        self._since = {}
        if expectation.phase == "begin" and expectation.progress == "must":
            for name in expectation.nodes:
                node = self.world.nodes.get(name)
                if node is not None and node.is_correct and node.is_up:
                    self._since[name] = self.world.now_ms
                    self._note(node)

    def on_end(self, node: NodeFacts, reason: str) -> None:
        self._targets.pop(node.name, None)

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        target = self._targets.get(node.name)
        if target is not None and decision.height >= target[0]:
            self._judge(node)
            del self._targets[node.name]
            self._caught_up += 1
            self._heights += target[1]

    def _note(self, node: NodeFacts) -> None:
        """One height behind is everybody who waits for a last vote."""
        height = self.world.height
        if height > node.height + 1 and node.name not in self._targets:
            self._targets[node.name] = (height, height - node.height)

    def _judge_all(self) -> None:
        for name in self._targets:
            self._judge(self.world.nodes[name])

    def _judge(self, node: NodeFacts) -> None:
        began_ms = self._since.get(node.name)
        target, behind = self._targets[node.name]
        bound_ms = BOUND_MS + MS_PER_HEIGHT * behind
        if began_ms is not None and self.world.now_ms - began_ms > bound_ms:
            self.violate(
                f"{node.name} is at height {node.height} after {self.world.now_ms - began_ms} ms"
                f" ≠ height {target}, which it had to reach in {bound_ms} ms",
                node.name,
                height=target,
            )

    def find_missing(self) -> str:
        self._judge_all()
        return "" if self._caught_up else "no node was behind and had to catch up"

    def summarize(self) -> str:
        return f"{self._caught_up} times a node caught up, {self._heights} heights together"
