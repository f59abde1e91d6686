"""Traitors that say less than they should: P where the others are a quorum, H where they are not.

A node that withholds its votes must not give them away in a certificate either, so what it has decided with its own
vote it keeps to itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from tana.node.effects import Broadcast, Effect, Send, ServeBlocks
from tana.node.hooks import Beginning
from tana.types.messages import BlockPart, PeerMessage, Proposal
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
        if not self.shows_own_vote(message):
            return [message]
        self.note_lie()
        return ()


class AlwaysNil(Behaviour):
    """Votes nil, whatever is proposed. P (n=3: H)

    The one lie that is told inside: the node's own tally must hold its nil, or it would lock on a polka that nobody
    else can ever see, and hold the chain up when it is honest again.
    """

    kind = "always_nil"
    is_withholding = True

    def on_begin(self, beginning: Beginning) -> None:
        super().on_begin(beginning)
        core = beginning.machine.core

        def vote_nil(kind: int, block_hash: bytes | None) -> bytes | None:
            if block_hash is None or not self.is_on(core.height, core.round):
                return block_hash
            self.note_lie(core.height)
            return None

        core.distort = vote_nil

    def on_end(self) -> None:
        self.machine.core.distort = None


class WithholdsProposals(Behaviour):
    """Never shows what it proposes: each of its rounds times out. P"""

    kind = "withholds_proposals"

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        block = self.read_block(message) if isinstance(message, BlockPart) else None
        is_own_block = block is not None and block.header.producer == self.signer.public_key
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
