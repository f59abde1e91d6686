"""No double signing: no correct node signs two messages for one height, round and step, across restarts too.

A message that is not durable when it leaves would be forgotten in a crash, and then signed anew: that is a violation
already. A restarted node must also know everything it ever made durable.
"""

from __future__ import annotations

from tana.types.messages import VOTE_NAMES, BlockPart, Proposal, Vote
from testbed.invariants.base import Invariant
from testbed.invariants.facts import HEIGHTS_REMEMBERED, Begin, NodeFacts, Slot
from testbed.needs import STEPS


class DoubleSign(Invariant):
    number = 7
    name = "double_sign"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._signed_slots: dict[bytes, dict[Slot, Vote | Proposal]] = {}
        self._flushed: dict[bytes, Slot] = {}
        self._count = 0

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        known = self._flushed.get(begin.key, (0, 0, 0))
        if begin.sign_floor < known and begin.sign_floor != (0, 0, 0):
            self.violate(
                f"{node.name} begins with sign-state up to {_describe_slot(begin.sign_floor)}"
                f" ≠ {_describe_slot(known)}, which it has signed and sent",
                node.name,
                begun=begin.sign_floor,
                signed=known,
            )

    def on_signed(self, node: NodeFacts, message: Vote | Proposal) -> None:
        self._count += 1
        slot = get_slot(message)
        book = self._signed_slots.get(node.key)
        if book is None:
            book = self._signed_slots[node.key] = {}
        other = book.get(slot)
        if other is None:
            if len(book) > 8 * HEIGHTS_REMEMBERED:
                self._forget(book, message.height - HEIGHTS_REMEMBERED)
            book[slot] = message
        elif other.signature != message.signature:
            self.violate(
                f"{node.name} signed two messages as {_describe_slot(slot)}:"
                f" {describe_value(message)} ≠ {describe_value(other)}",
                node.name,
                height=message.height,
                round=message.round,
                values=[describe_value(message), describe_value(other)],
                incarnation=node.incarnation,
            )

    def on_end(self, node: NodeFacts, reason: str) -> None:
        # What it had signed and not made durable nobody has seen: it is as if it were never signed.
        book = self._signed_slots.get(node.key, {})
        for slot in [slot for slot, message in book.items() if message.signature in node.pending]:
            del book[slot]

    def on_sent(self, node: NodeFacts, message: Vote | Proposal | BlockPart) -> None:
        if isinstance(message, BlockPart) or message.validator != node.key:
            return
        slot = get_slot(message)
        if message.signature in node.pending:
            self.violate(
                f"{node.name} sent its {_describe_slot(slot)} ≠ its log, in which that is not durable yet",
                node.name,
                height=message.height,
                round=message.round,
            )
        elif slot > self._flushed.get(node.key, (0, 0, 0)):
            self._flushed[node.key] = slot
        if self.world.signatures.remembers(message.height) and not self.world.is_genuine(message):
            self.violate(
                f"{node.name} sent a {_describe_slot(slot)} for {describe_value(message)}"
                " ≠ its log, which holds no such",
                node.name,
                height=message.height,
                round=message.round,
            )

    @staticmethod
    def _forget(book: dict[Slot, Vote | Proposal], height: int) -> None:
        for slot in [slot for slot in book if slot[0] < height]:
            del book[slot]

    def find_missing(self) -> str:
        return "" if self._count else "no correct node signed anything"

    def summarize(self) -> str:
        return f"{self._count} messages signed, each height, round and step once"


def get_slot(message: Vote | Proposal) -> Slot:
    return (message.height, message.round, message.kind if isinstance(message, Vote) else 0)


def describe_value(message: Vote | Proposal) -> str:
    """What a message says: nil, or the beginning of a block's hash, with the valid round of a proposal."""
    value = "nil" if message.block_hash is None else f"{message.block_hash.hex()[:8]}…"
    if isinstance(message, Proposal) and message.valid_round >= 0:
        return f"{value} (valid round {message.valid_round})"
    return value


def _describe_slot(slot: Slot) -> str:
    height, round, kind = slot
    return f"{VOTE_NAMES.get(kind, 'proposal')} of height {height} round {round}"
