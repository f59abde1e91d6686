"""Lock rule: a node locked on a block supports another one only after a later polka for that one.

Locked is who precommitted a block: from then on, in this height, it prevotes or proposes another block only with
prevotes of a quorum for it, of a round from its locked round on and before the round it votes in, that it has seen
before. Seen are votes that their signers really made.

Who precommitted nil and then, still in that round, saw the polka for the block that it had prevoted, proposes that
block and no other from then on (L42, L15): it may be all that frees who is locked on it. A restart may forget that.
"""

from __future__ import annotations

from tana.node.inputs import Timer
from tana.types.messages import PRECOMMIT, PREVOTE
from tana.types.vote import PROPOSAL
from testbed.invariants.base import Invariant
from testbed.invariants.facts import Begin, NodeFacts
from testbed.invariants.statements import Statement
from testbed.needs import STEPS


class _Valid:
    """What a node knows of valid blocks of the height it decides."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.round = -1
        """The round it is in: where it signed something, or waits for a proposal."""
        self.prevoted: tuple[int, bytes | None] = (-1, None)
        """Round and block of its last prevote."""
        self.is_late = False
        """Whether it has precommitted nil in this round."""
        self.latest: tuple[int, bytes | None] = (-1, None)
        """Round and block of the last polka that came after that."""


class LockRule(Invariant):
    number = 8
    name = "lock_rule"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._locks = 0
        self._unlocks = 0
        self._valid: dict[str, _Valid] = {}

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        self._valid.pop(node.name, None)

    def on_timer(self, node: NodeFacts, timer: Timer) -> None:
        if timer.kind == "propose" and timer.height == node.height + 1:
            self._enter(node, timer.round)

    def on_signed(self, node: NodeFacts, statement: Statement) -> None:
        if statement.height == node.height + 1:
            valid = self._enter(node, statement.round)
            if statement.kind == PROPOSAL:
                self._judge_proposal(node, statement, valid)
            elif statement.kind == PREVOTE:
                valid.prevoted = (statement.round, statement.block_hash)
            else:
                valid.is_late = statement.block_hash is None
        self._judge_lock(node, statement)

    def _enter(self, node: NodeFacts, round: int) -> _Valid:
        """It is in that round: what it has seen of the one before counts."""
        valid = self._valid.get(node.name)
        if valid is None or valid.height != node.height + 1:
            valid = self._valid[node.name] = _Valid(node.height + 1)
        if round > valid.round:
            prevoted_round, block_hash = valid.prevoted
            is_known = valid.is_late and prevoted_round == valid.round and block_hash is not None
            if is_known and node.has_polka(prevoted_round, block_hash):
                valid.latest = valid.prevoted
            valid.round, valid.is_late = round, False
        return valid

    def _judge_proposal(self, node: NodeFacts, proposal: Statement, valid: _Valid) -> None:
        round, block_hash = valid.latest
        if proposal.valid_round >= round:
            return
        self.violate(
            f"{node.name} at height {proposal.height} round {proposal.round} proposes"
            f" {_shorten(proposal.block_hash)} ≠ {_shorten(block_hash)}, of which it saw a polka in round {round}",
            node.name,
            height=proposal.height,
            round=proposal.round,
            blocks=[(proposal.block_hash or b"").hex(), (block_hash or b"").hex()],
        )

    def _judge_lock(self, node: NodeFacts, statement: Statement) -> None:
        if statement.block_hash is None:
            return
        if statement.kind == PRECOMMIT:
            self._locks += 1
            return
        if node.locked_round < 0 or statement.block_hash == node.locked_hash or statement.height != node.height + 1:
            return
        assert node.locked_hash is not None
        for round in range(node.locked_round, statement.round):
            if node.has_polka(round, statement.block_hash):
                self._unlocks += 1
                return
        what = "prevotes" if statement.kind == PREVOTE else "proposes"
        self.violate(
            f"{node.name} at height {statement.height} {what} {_shorten(statement.block_hash)}"
            f" in round {statement.round}"
            f" ≠ {_shorten(node.locked_hash)}, on which it is locked since round {node.locked_round},"
            " and it has seen no later polka",
            node.name,
            height=statement.height,
            round=statement.round,
            locked_round=node.locked_round,
            blocks=[statement.block_hash.hex(), node.locked_hash.hex()],
        )

    def find_missing(self) -> str:
        return "" if self._locks else "no correct node locked on a block"

    def summarize(self) -> str:
        return f"{self._locks} locks kept, {self._unlocks} times left for a later polka"


def _shorten(block_hash: bytes | None) -> str:
    return f"{(block_hash or b'').hex()[:8]}…"
