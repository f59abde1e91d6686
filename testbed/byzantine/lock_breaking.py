"""Votes against the rule of the lock and of the polka: P. No vote stands twice in a slot, so there is no evidence."""

from __future__ import annotations

from collections.abc import Sequence

from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart, PeerMessage, Proposal, Vote
from testbed.byzantine.base import Behaviour


class ForgottenLock(Behaviour):
    """Prevotes what is proposed though it is locked on something else, and proposes anew what should be old. P"""

    kind = "forgotten_lock"

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        if not self.is_own(message):
            return [message]
        if isinstance(message, Proposal) and message.valid_round >= 0:
            self.note_lie(message.height)
            block = self.machine.ledger.build_block(
                self.signer.public_key, self.now_ms_here, self.machine.mempool.candidates()
            )
            proposal = self.sign_proposal(message.height, message.round, block.hash)
            return [proposal, BlockPart(message.height, block.data)]
        if isinstance(message, Vote) and message.kind == PREVOTE and message.block_hash is None:
            core = self.machine.core
            proposal_here = core.proposals.get(message.round)
            if proposal_here is not None and core.locked_hash not in (None, proposal_here.block_hash):
                self.note_lie(message.height)
                return [self.sign_vote(PREVOTE, message.height, message.round, proposal_here.block_hash)]
        return [message]


class PrecommitWithoutPolka(Behaviour):
    """Precommits a block together with its prevote, before anybody can have seen a polka. P"""

    kind = "precommit_without_polka"

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        if not (isinstance(message, Vote) and self.is_own(message) and message.kind == PREVOTE):
            return [message]
        if message.block_hash is None:
            return [message]
        self.note_lie(message.height)
        # The slot is used: whatever the node precommits in this round, this is said again.
        return [message, self.sign_vote(PRECOMMIT, message.height, message.round, message.block_hash)]
