"""Submitted: every committed transaction is one that a client sent, signed by its sender, and valid where it stands.

Validity is judged by a model of its own (`testbed/invariants/model.py`), which is applied to every final block.
"""

from __future__ import annotations

from tana.crypto.keys import parse_public_key
from tana.types.transaction import SignedTransaction
from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Applied, NodeFacts
from testbed.needs import CHAIN, STEPS, TRANSACTIONS


class Submitted(Invariant):
    number = 3
    name = "submitted"
    needs = frozenset({STEPS, CHAIN, TRANSACTIONS})

    def __init__(self) -> None:
        super().__init__()
        self._submitted: set[str] = set()
        self._count = 0

    def on_submitted(self, transaction: SignedTransaction) -> None:
        self._submitted.add(transaction.id)

    def on_final(self, node: NodeFacts, decision: Decision) -> None:
        for applied in self.world.replay(decision):
            reason = self._find_fault(applied)
            self._count += 1
            if reason:
                self.violate(
                    f"{node.name} at height {decision.height} committed transaction {applied.name}: {reason}",
                    node.name,
                    height=decision.height,
                    text=applied.raw.text.decode("utf-8", "replace"),
                )

    def _find_fault(self, applied: Applied) -> str:
        transaction = applied.transaction
        if transaction is None:
            return applied.reason
        # Who was not told of any submission cannot know.
        is_told = TRANSACTIONS not in self.world.missing and TRANSACTIONS not in self.world.lost
        if is_told and transaction.id not in self._submitted:
            return "nobody submitted it"
        sender = parse_public_key(transaction.transaction.sender)
        if not self.world.verifier(sender, transaction.text, transaction.signature):
            return "its signature is not by its sender"
        return applied.reason

    def find_missing(self) -> str:
        return "" if self._count else "no transaction was committed"

    def summarize(self) -> str:
        return f"{self._count} committed transactions, each submitted, signed and valid"
