"""Two different signed statements for one slot: P, the chain goes on, and E, the evidence is committed.

Both are sent to everybody, in an order that differs, so that correct nodes believe different ones and all can prove it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tana.node.effects import Broadcast, Effect, Send
from tana.types.block import Block
from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart, PeerMessage, Proposal, Vote
from testbed.byzantine.base import Behaviour


class EquivocatingProposer(Behaviour):
    """Proposes two blocks in one round: half of the peers hear of the one first, half of the other. P, E"""

    kind = "equivocating_proposer"
    is_punished = True

    def change(self, effect: Effect) -> Sequence[Effect]:
        match effect:
            case Broadcast(Proposal() | BlockPart() as message):
                return [item for peer in self.peers for item in self._say_to(peer, message)]
            case Send(peer, Proposal() | BlockPart() as message):
                return self._say_to(peer, message)
        return [effect]

    def _say_to(self, peer: bytes, message: Proposal | BlockPart) -> list[Effect]:
        other = self._make_other(message) if self.is_on_for(message) else None
        if other is None:
            return [Send(peer, message)]
        self.note_lie(message.height)
        pair: list[PeerMessage] = [message, other]
        if list(self.peers).index(peer) % 2 if peer in self.peers else False:
            pair.reverse()
        # The second block stays here: who believes in it must get it, who does not needs no copy.
        return [Send(peer, item) for item in (pair if isinstance(message, Proposal) else pair[:1])]

    def _make_other(self, message: Proposal | BlockPart) -> Proposal | BlockPart | None:
        """The same statement about the other block; None for what is not of our own making."""
        if isinstance(message, BlockPart):
            block = self.read_block(message)
            if block is None or block.header.producer != self.signer.public_key:
                return None
            return BlockPart(message.height, make_other_block(block).data)
        block_here = self.find_block(message.block_hash)
        if message.validator != self.signer.public_key or block_here is None:
            return None
        return self.sign_proposal(message.height, message.round, make_other_block(block_here).hash)


class _DoubleVote(Behaviour):
    is_punished = True
    vote_kind: ClassVar[int]

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        if not (isinstance(message, Vote) and self.is_own(message) and message.kind == self.vote_kind):
            return [message]
        self.note_lie(message.height)
        slot = (message.height, message.round)
        other = None if message.block_hash is not None else self.make_hash(slot)
        pair = [message, self.sign_vote(message.kind, message.height, message.round, other)]
        return pair if self.random.random() < 0.5 else pair[::-1]


class DoublePrevote(_DoubleVote):
    """Prevotes for the block and for nil, or for nil and something else. P, E"""

    kind = "double_prevote"
    vote_kind = PREVOTE


class DoublePrecommit(_DoubleVote):
    """Precommits the block and nil, or nil and something else. P, E"""

    kind = "double_precommit"
    vote_kind = PRECOMMIT


def make_other_block(block: Block) -> Block:
    """A block that is as valid as this one and has another hash."""
    header = msgspec.structs.replace(block.header, time_ms=block.header.time_ms + 1)
    return Block.create(header, block.transactions, block.evidence)
