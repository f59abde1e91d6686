"""Exactly once: no transaction is in the chain twice, however often it was sent."""

from __future__ import annotations

import hashlib

from tana.types.transaction import SignedTransaction
from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import NodeFacts
from testbed.needs import CHAIN, STEPS


class ExactlyOnce(Invariant):
    number = 4
    name = "exactly_once"
    needs = frozenset({STEPS, CHAIN})

    def __init__(self) -> None:
        super().__init__()
        self._heights: dict[bytes, int] = {}
        self._sent = 0

    def on_submitted(self, transaction: SignedTransaction) -> None:
        self._sent += 1

    def on_final(self, node: NodeFacts, decision: Decision) -> None:
        height = decision.height
        for raw in decision.block.transactions:
            identity = hashlib.sha256(raw.text).digest()
            earlier = self._heights.get(identity)
            if earlier is not None:
                self.violate(
                    f"{node.name} at height {height} committed transaction {identity.hex()[:8]}…"
                    f" ≠ once: it is already at height {earlier}",
                    node.name,
                    height=height,
                    earlier=earlier,
                )
            self._heights[identity] = height

    def find_missing(self) -> str:
        return "" if self._heights else "no transaction was committed"

    def summarize(self) -> str:
        sent = f", sent {self._sent} times" if self._sent else ""
        return f"{len(self._heights)} transactions{sent}, each in one block"
