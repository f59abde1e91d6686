"""What progress within a bound means, for the two invariants about it.

From the moment on at which quorum arithmetic says that some nodes must go on, each of them that is correct must commit
a height that it had not committed. In virtual time the bound is in rounds: the block that is decided next must be
decided within so many rounds of the one its node was in. In real time it is in ms, for there a slow machine is no
fault. A stretch that ends before the bound is reached, without a commit, proves nothing.
"""

from __future__ import annotations

from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Expectation, NodeFacts

ROUNDS_PER_VALIDATOR = 2
"""Every validator has its turn twice …"""
ROUNDS_MORE = 6
"""… and some rounds go by while timeouts grow beyond what the network takes."""
STANDSTILL_MS = 600_000
"""Longer than all those rounds take, with their growing timeouts: not even rounds go on."""
BOUND_MS = 60_000
"""In real time."""


class Resumption(Invariant):
    """Base of both. `concerns` says which expectations it is about."""

    def __init__(self) -> None:
        super().__init__()
        self._since: dict[str, tuple[int, int, int]] = {}
        """By node that must go on: its height, its round, and when that began."""
        self._why = ""
        self._rounds_growing = 0
        self._resumed = 0
        self._stretches = 0
        self._slowest = 0

    def concerns(self, expectation: Expectation) -> bool:
        raise NotImplementedError

    def on_expect(self, expectation: Expectation) -> None:
        if expectation.phase == "end":
            self._judge_silence()
            self._since = {}
        elif expectation.progress == "must" and self.concerns(expectation):
            self._why = expectation.why
            self._rounds_growing = expectation.rounds_growing
            self._stretches += 1
            for name in expectation.nodes:
                node = self.world.nodes.get(name)
                if node is not None and node.is_correct:
                    self._since[name] = (node.height, max(node.round, 0), self.world.now_ms)
        else:
            self._since = {}

    def on_end(self, node: NodeFacts, reason: str) -> None:
        self._since.pop(node.name, None)

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        since = self._since.pop(node.name, None)
        if since is None:
            return
        height, round, began_ms = since
        took_ms = self.world.now_ms - began_ms
        self._resumed += 1
        if not self.world.is_virtual:
            self._slowest = max(self._slowest, took_ms)
            if took_ms > BOUND_MS:
                self._violate(node, f"went on after {took_ms} ms ≠ at most {BOUND_MS} ms")
            return
        # Who syncs a height did not take part in it: its rounds say nothing of how soon it went on.
        rounds = decision.round - round if decision.height == height + 1 else 0
        self._slowest = max(self._slowest, rounds)
        bound = self._get_rounds_max(node)
        if rounds > bound:
            self._violate(node, f"decided height {height + 1} after {rounds} more rounds ≠ at most {bound}")

    def _judge_silence(self) -> None:
        """Those that did not go on at all, at the end of a stretch."""
        for name, (height, round, began_ms) in self._since.items():
            node = self.world.nodes[name]
            waited_ms = self.world.now_ms - began_ms
            rounds, bound = max(node.round, 0) - round, self._get_rounds_max(node)
            if self.world.is_virtual and rounds > bound:
                self._violate(node, f"is still at height {height} after {rounds} more rounds ≠ at most {bound}")
            elif waited_ms > (STANDSTILL_MS if self.world.is_virtual else BOUND_MS):
                self._violate(node, f"is still at height {height} after {waited_ms} ms")

    def _get_rounds_max(self, node: NodeFacts) -> int:
        members = len(node.validators.rows) if node.validators is not None else 0
        return ROUNDS_PER_VALIDATOR * members + ROUNDS_MORE + self._rounds_growing

    def _violate(self, node: NodeFacts, what: str) -> None:
        self.violate(f"{node.name} {what} ({self._why})", node.name, height=node.height)

    def find_missing(self) -> str:
        self._judge_silence()
        if not self._stretches:
            return "nothing was expected to go on in that way"
        return "" if self._resumed else "no stretch was long enough to tell"

    def summarize(self) -> str:
        unit = "rounds" if self.world.is_virtual else "ms"
        return f"{self._resumed} times in {self._stretches} stretches a node went on, within {self._slowest} {unit}"
