"""Traitors that say less than they should: P where the others are a quorum, H where they are not.

A node that withholds its votes must not give them away in a certificate either, so what it has decided with its own
vote it keeps to itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from tana.node.effects import Broadcast, Effect, Send, ServeBlocks
from tana.types.block import Block
from tana.types.messages import BlockPart, PeerMessage, Proposal, Vote
from testbed.byzantine.base import Behaviour


class Silent(Behaviour):
    """Says nothing to anybody, and hears everything. P (n=3: H)"""

    kind = "silent"
    is_withholding = True

    def change(self, effect: Effect) -> Sequence[Effect]:
        if isinstance(effect, Broadcast | Send | ServeBlocks) and self.is_on():
            self.note_lie()
            return ()
        return [effect]


class WithholdsVotes(Behaviour):
    """Proposes and relays, and never shows a vote of its own. P (n=3: H)"""

    kind = "withholds_votes"
    is_withholding = True

    def change(self, effect: Effect) -> Sequence[Effect]:
        if isinstance(effect, ServeBlocks) and self.is_on():
            return ()
        return super().change(effect)

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        if not self._shows_own_vote(message):
            return [message]
        self.note_lie()
        return self.replace(message)

    def replace(self, message: PeerMessage) -> Sequence[PeerMessage]:
        """What is said instead of a message that shows a vote of its own."""
        return ()

    def _shows_own_vote(self, message: PeerMessage) -> bool:
        return isinstance(message, Vote) and self.is_own(message)


class AlwaysNil(WithholdsVotes):
    """Votes nil, whatever is proposed. P (n=3: H)"""

    kind = "always_nil"

    def replace(self, message: PeerMessage) -> Sequence[PeerMessage]:
        return [self.sign_vote(message.kind, message.height, message.round, None)] if isinstance(message, Vote) else ()


class WithholdsProposals(Behaviour):
    """Never shows what it proposes: each of its rounds times out. P"""

    kind = "withholds_proposals"

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        is_own_block = (
            isinstance(message, BlockPart) and Block.decode(message.data).header.producer == self.signer.public_key
        )
        if is_own_block or (isinstance(message, Proposal) and self.is_own(message)):
            self.note_lie()
            return ()
        return [message]


class _SpeaksTo(Behaviour):
    """Speaks to some of its peers only; the others must hear of it through these."""

    def may_hear(self, peer: bytes) -> bool:
        raise NotImplementedError

    def change(self, effect: Effect) -> Sequence[Effect]:
        if not isinstance(effect, Broadcast | Send | ServeBlocks) or not self.is_on():
            return [effect]
        if isinstance(effect, Broadcast):
            chosen = [Send(peer, effect.message) for peer in self.peers if self.may_hear(peer)]
            if len(chosen) < len(self.peers):
                self.note_lie()
            return chosen
        if self.may_hear(effect.peer):
            return [effect]
        self.note_lie()
        return ()


class SendsToSome(_SpeaksTo):
    """Speaks to every second peer only, in the order of their keys, and to its accomplices. P"""

    kind = "sends_to_some"

    def may_hear(self, peer: bytes) -> bool:
        others = [key for key in self.peers if key not in self.accomplices]
        return peer in self.accomplices or peer in others[::2]


class SendsToTraitors(_SpeaksTo):
    """Speaks to its accomplices only, to no correct node. P (n=3: H)"""

    kind = "sends_to_traitors"
    is_withholding = True

    def may_hear(self, peer: bytes) -> bool:
        return peer in self.accomplices
