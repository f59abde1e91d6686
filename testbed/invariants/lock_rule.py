"""Lock rule: a node locked on a block supports another one only after a later polka for that one.

Locked is who precommitted a block: from then on, in this height, it prevotes or proposes another block only with
prevotes of a quorum for it, of a round from its locked round on and before the round it votes in, that it has seen
before. Seen are votes that their signers really made.
"""

from __future__ import annotations

from tana.types.messages import PREVOTE, Proposal, Vote
from testbed.invariants.base import Invariant
from testbed.invariants.facts import NodeFacts
from testbed.needs import STEPS


class LockRule(Invariant):
    number = 8
    name = "lock_rule"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._locks = 0
        self._unlocks = 0

    def on_signed(self, node: NodeFacts, message: Vote | Proposal) -> None:
        if isinstance(message, Vote):
            if message.block_hash is None:
                return
            if message.kind != PREVOTE:
                self._locks += 1
                return
        if node.locked_round < 0 or message.block_hash == node.locked_hash or message.height != node.height + 1:
            return
        assert node.locked_hash is not None
        for round in range(node.locked_round, message.round):
            if node.has_polka(round, message.block_hash):
                self._unlocks += 1
                return
        what = "prevotes" if isinstance(message, Vote) else "proposes"
        self.violate(
            f"{node.name} at height {message.height} {what} {_shorten(message.block_hash)} in round {message.round}"
            f" ≠ {_shorten(node.locked_hash)}, on which it is locked since round {node.locked_round},"
            " and it has seen no later polka",
            node.name,
            height=message.height,
            round=message.round,
            locked_round=node.locked_round,
            blocks=[(message.block_hash or b"").hex(), node.locked_hash.hex()],
        )

    def find_missing(self) -> str:
        return "" if self._locks else "no correct node locked on a block"

    def summarize(self) -> str:
        return f"{self._locks} locks kept, {self._unlocks} times left for a later polka"


def _shorten(block_hash: bytes | None) -> str:
    return f"{(block_hash or b'').hex()[:8]}…"
