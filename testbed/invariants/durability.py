"""Durability: a transaction that a node acknowledged as final is in the chain, and stays there through every crash."""

from __future__ import annotations

import hashlib

from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, NodeFacts
from testbed.needs import STEPS, TRANSACTIONS


class Durability(Invariant):
    number = 12
    name = "durability"
    needs = frozenset({STEPS, TRANSACTIONS})

    def __init__(self) -> None:
        super().__init__()
        self._heights: dict[str, int] = {}
        self._acknowledged: dict[str, tuple[int, str]] = {}
        """By node the highest height of which it acknowledged a transaction, and that transaction."""
        self._count = 0
        self._crashes = 0

    def on_final(self, node: NodeFacts, decision: Decision) -> None:
        for raw in decision.block.transactions:
            self._heights.setdefault(hashlib.sha256(raw.text).hexdigest(), decision.height)

    def on_acknowledged(self, node: NodeFacts, transaction_id: str, height: int) -> None:
        self._count += 1
        found = self._heights.get(transaction_id)
        if found is None or (height and found != height):
            where = "in no block" if found is None else f"at height {found}"
            self.violate(
                f"{node.name} acknowledged transaction {transaction_id[:8]}… at height {height} ≠ {where} of the chain",
                node.name,
                height=height,
            )
        elif found > self._acknowledged.get(node.name, (0, ""))[0]:
            self._acknowledged[node.name] = (found, transaction_id)

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        self._crashes += begin.incarnation > 1
        height, transaction_id = self._acknowledged.get(node.name, (0, ""))
        if begin.height < height:
            self.violate(
                f"{node.name} begins again at height {begin.height} ≠ height {height},"
                f" at which it acknowledged transaction {transaction_id[:8]}…",
                node.name,
                height=height,
            )

    def on_wipe(self, node: NodeFacts) -> None:
        self._acknowledged.pop(node.name, None)

    def find_missing(self) -> str:
        return "" if self._count else "no transaction was acknowledged"

    def summarize(self) -> str:
        return f"{self._count} acknowledgements kept across {self._crashes} restarts"
