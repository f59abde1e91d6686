"""No quorum: while too much power is missing, no survivor commits above what the missing had precommitted.

Their last precommits may be on their way, and catching up with what somebody committed is no progress. So the highest
height allowed is that of the chain, or of a precommit by anybody, when the stretch begins.
"""

from __future__ import annotations

from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Expectation, NodeFacts
from testbed.needs import EXPECTATIONS, STEPS


class NoQuorum(Invariant):
    number = 18
    name = "no_quorum"
    needs = frozenset({STEPS, EXPECTATIONS})

    def __init__(self) -> None:
        super().__init__()
        self._expectation: Expectation | None = None
        self._allowed = 0
        self._stretches = 0

    def on_expect(self, expectation: Expectation) -> None:
        self._expectation = None
        if expectation.phase == "begin" and expectation.progress == "must_not":
            nodes = self.world.nodes.values()
            concerned = [node for node in nodes if node.name in expectation.missing] or list(nodes)
            self._expectation = expectation
            height = self.world.height
            self._allowed = max([height, *(node.precommit_height for node in concerned)])
            if any(name not in self.world.correct.values() for name in expectation.missing):
                # What a traitor precommitted is in no record, and may be the next height at most.
                self._allowed = max(self._allowed, height + 1)
            self._stretches += 1

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        expectation = self._expectation
        if expectation is not None and decision.height > self._allowed and node.name in expectation.nodes:
            missing = ", ".join(expectation.missing) or "some"
            self.violate(
                f"{node.name} committed height {decision.height} without {missing} ≠ height {self._allowed},"
                f" the last one that those precommitted ({expectation.why})",
                node.name,
                height=decision.height,
            )

    def find_missing(self) -> str:
        return "" if self._stretches else "a quorum was there all the time"

    def summarize(self) -> str:
        return f"{self._stretches} stretches without a quorum, and no new height in them"
