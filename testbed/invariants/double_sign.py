"""No double signing: no correct node signs two messages for one height, round and step, across restarts too.

A message that is not durable when it leaves would be forgotten in a crash, and then signed anew: that is a violation
already. A restarted node must also know everything it ever made durable.
"""

from __future__ import annotations

from tana.types.messages import VOTE_NAMES
from testbed.invariants.base import Invariant
from testbed.invariants.facts import Begin, NodeFacts
from testbed.invariants.statements import HEIGHTS_REMEMBERED, Slot, Statement
from testbed.needs import STEPS

Book = dict[int, dict[int, Statement]]
"""What a key signed, by height and step."""


class DoubleSign(Invariant):
    number = 7
    name = "double_sign"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._books: dict[bytes, Book] = {}
        self._sent: dict[bytes, Statement] = {}
        """By key the highest slot's statement that was sent, and so must be durable."""
        self._count = 0

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        sent = self._sent.get(begin.key)
        known = sent.slot if sent is not None else (0, 0, 0)
        if begin.sign_floor < known and begin.sign_floor != (0, 0, 0):
            self.violate(
                f"{node.name} begins with sign-state up to {_describe_slot(begin.sign_floor)}"
                f" ≠ {_describe_slot(known)}, which it has signed and sent",
                node.name,
                begun=begin.sign_floor,
                signed=known,
            )

    def on_signed(self, node: NodeFacts, statement: Statement) -> None:
        self._count += 1
        book = self._books.get(node.key)
        if book is None:
            book = self._books[node.key] = {}
        steps = book.get(statement.height)
        if steps is None:
            if len(book) > 2 * HEIGHTS_REMEMBERED:
                self._forget(book, statement.height - HEIGHTS_REMEMBERED)
            steps = book[statement.height] = {}
        other = steps.get(statement.step)
        if other is None:
            steps[statement.step] = statement
        elif other.signature != statement.signature:
            self.violate(
                f"{node.name} signed two messages as {_describe_slot(statement.slot)}:"
                f" {describe_value(statement)} ≠ {describe_value(other)}",
                node.name,
                height=statement.height,
                round=statement.round,
                values=[describe_value(statement), describe_value(other)],
                incarnation=node.incarnation,
            )

    def on_end(self, node: NodeFacts, reason: str) -> None:
        # What it had signed and not made durable nobody has seen: it is as if it were never signed.
        book = self._books.get(node.key, {})
        for statement in node.pending:
            steps = book.get(statement.height, {})
            known = steps.get(statement.step)
            if known is not None and known.signature == statement.signature:
                del steps[statement.step]

    def on_sent(self, node: NodeFacts, statement: Statement) -> None:
        if statement.validator != node.key:
            return
        if any(other.signature == statement.signature for other in node.pending):
            self.violate(
                f"{node.name} sent its {_describe_slot(statement.slot)} ≠ its log, in which that is not durable yet",
                node.name,
                height=statement.height,
                round=statement.round,
            )
        else:
            sent = self._sent.get(node.key)
            if sent is None or statement.is_after(sent):
                self._sent[node.key] = statement
        if self.world.statements.remembers(statement.height) and not self.world.is_genuine(statement):
            self.violate(
                f"{node.name} sent a {_describe_slot(statement.slot)} for {describe_value(statement)}"
                " ≠ its log, which holds no such",
                node.name,
                height=statement.height,
                round=statement.round,
            )

    @staticmethod
    def _forget(book: Book, height: int) -> None:
        for old in [item for item in book if item < height]:
            del book[old]

    def find_missing(self) -> str:
        return "" if self._count else "no correct node signed anything"

    def summarize(self) -> str:
        return f"{self._count} messages signed, each height, round and step once"


def describe_value(statement: Statement) -> str:
    """What is said: nil, or the beginning of a block's hash, with the valid round of a proposal."""
    value = "nil" if statement.block_hash is None else f"{statement.block_hash.hex()[:8]}…"
    return f"{value} (valid round {statement.valid_round})" if statement.valid_round >= 0 else value


def _describe_slot(slot: Slot) -> str:
    height, round, kind = slot
    return f"{VOTE_NAMES.get(kind, 'proposal')} of height {height} round {round}"
