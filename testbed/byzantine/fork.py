"""The negative control: enough traitors together fork the chain. Nothing withstands this; it must be detected.

In each round that a traitor leads, they show one block to half of the correct validators and another to the others, and
vote for each where it is shown. With a power of 2 · quorum − total both halves reach a quorum. With less (one correct
node of three, or fewer traitors) neither does, and the chain merely loses that round.
"""

from __future__ import annotations

from collections.abc import Sequence

from tana.node.effects import Broadcast, Effect, Send, ServeBlocks
from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart, PeerMessage, Proposal, Vote
from testbed.byzantine.base import Behaviour
from testbed.byzantine.equivocation import make_other_block

Slot = tuple[int, int]


class Fork(Behaviour):
    """Forks the chain together with its accomplices, if they are enough. Detected, with exit code 1"""

    kind = "fork"

    def prepare(self) -> None:
        self._attack: Slot = (0, 0)
        """Height and round of the last attack: nothing honest leaves about it."""
        self._offers: dict[Slot, dict[bytes, None]] = {}
        """Hashes of the blocks that traitors proposed, until there are both."""

    def hear(self, peer: bytes, message: PeerMessage) -> None:
        if isinstance(message, Proposal) and peer == message.validator and peer in self.accomplices:
            self._offer(message)

    def change(self, effect: Effect) -> Sequence[Effect]:
        match effect:
            case Broadcast(Proposal() as proposal) if self.is_own(proposal) and self.is_on_for(proposal):
                return self._propose(proposal)
            case Broadcast(message) | Send(_, message) if self._is_about_attack(message):
                return ()
            case ServeBlocks() if self._is_attacking():
                return ()
        return [effect]

    def _propose(self, proposal: Proposal) -> list[Effect]:
        """Show each half its block, and the accomplices both proposals, so that they know what to vote for."""
        block = self.find_block(proposal.block_hash)
        assert block is not None, "a proposer has its block"
        blocks = sorted((block, make_other_block(block)), key=lambda item: item.hash)
        effects: list[Effect] = []
        for half, shown in zip(self._halves(), blocks, strict=True):
            claim = self.sign_proposal(proposal.height, proposal.round, shown.hash)
            self._offer(claim)
            effects += [Send(peer, claim) for peer in (*half, *sorted(self.accomplices))]
            effects += [Send(peer, BlockPart(proposal.height, shown.data)) for peer in half]
        return effects

    def _offer(self, proposal: Proposal) -> None:
        """Vote for both blocks of a round, each before its half, once both are known."""
        slot = (proposal.height, proposal.round)
        known = self._offers.setdefault(slot, {})
        known[proposal.block_hash] = None
        if len(known) < 2 or not self.is_on(*slot):
            return
        del self._offers[slot]
        self._attack = slot
        self.note_lie(proposal.height)
        for half, block_hash in zip(self._halves(), sorted(known), strict=True):
            for kind in (PREVOTE, PRECOMMIT):
                vote = self.sign_vote(kind, *slot, block_hash)
                self.queued += [Send(peer, vote) for peer in half]

    def _halves(self) -> tuple[list[bytes], list[bytes]]:
        keys = [item.public_key for item in self.machine.core.validators.validators]
        correct = [key for key in keys if key != self.signer.public_key and key not in self.accomplices]
        middle = len(correct) // 2
        return correct[:middle], correct[middle:]

    def _is_attacking(self) -> bool:
        core = self.machine.core
        return (core.height, core.round) == self._attack

    def _is_about_attack(self, message: PeerMessage) -> bool:
        if isinstance(message, Vote | Proposal):
            return self.is_own(message) and (message.height, message.round) == self._attack
        return self._is_attacking()
