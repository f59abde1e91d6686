"""Proposals that are not what they should be: refused with nil prevotes, or harmless. P"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tana.crypto import merkle
from tana.types.block import Block, RawTransaction
from tana.types.messages import BlockPart, PeerMessage, Proposal, Vote
from testbed.byzantine.base import Behaviour

MAX_REMEMBERED = 32
"""Forged blocks kept at a time: those of the last rounds in which this node proposed."""


class _ForgedProposal(Behaviour):
    """Replaces each fresh block of its own by a forged one, in the proposal, in the block's bytes and in its votes."""

    def prepare(self) -> None:
        self._forged: dict[bytes, Block] = {}

    def forge(self, block: Block) -> Block:
        """The block to be shown instead; the same one where there is nothing to forge."""
        raise NotImplementedError

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        match message:
            case Proposal() if self.is_own(message) and message.valid_round == -1:
                forged = self._find_forged(message.block_hash)
                if forged is not None:
                    self.note_lie(message.height)
                    return [self.sign_proposal(message.height, message.round, forged.hash)]
            case BlockPart():
                block = self.read_block(message)
                forged = self._find_forged(block.hash) if block is not None else None
                if forged is not None:
                    return [BlockPart(message.height, forged.data)]
            case Vote() if self.is_own(message) and message.block_hash in self._forged:
                forged = self._forged[message.block_hash]
                return [self.sign_vote(message.kind, message.height, message.round, forged.hash)]
        return [message]

    def _find_forged(self, block_hash: bytes) -> Block | None:
        if block_hash in self._forged:
            return self._forged[block_hash]
        block = self.find_block(block_hash)
        if block is None or block.header.producer != self.signer.public_key:
            return None
        forged = self.forge(block)
        if forged.data == block.data:
            return None
        if len(self._forged) >= MAX_REMEMBERED:
            del self._forged[next(iter(self._forged))]
        self._forged[block_hash] = forged
        return forged


class InvalidBlock(_ForgedProposal):
    """Proposes blocks with a transaction that no rule allows, or whose signature is wrong: answered with nil. P"""

    kind = "invalid_block"

    def forge(self, block: Block) -> Block:
        transactions = (*block.transactions, RawTransaction(b'{"type":"made-up"}', self.random.randbytes(64)))
        if block.transactions and self.random.random() < 0.5:
            # Everybody knows this text, and that it was once signed well.
            transactions = (
                RawTransaction(block.transactions[0].text, self.random.randbytes(64)),
                *block.transactions[1:],
            )
        root = merkle.compute_root([raw.leaf for raw in transactions])
        header = msgspec.structs.replace(block.header, transaction_count=len(transactions), transactions_root=root)
        return Block.create(header, transactions, block.evidence)


class WrongStateRoot(_ForgedProposal):
    """Proposes good transactions under a state root that they do not lead to: answered with nil. P"""

    kind = "wrong_state_root"

    def forge(self, block: Block) -> Block:
        header = msgspec.structs.replace(block.header, state_root=self.make_hash(block.height))
        return Block.create(header, block.transactions, block.evidence)


class FalseTimestamps(_ForgedProposal):
    """Proposes blocks from the far future, or no later than their parent: answered with nil. P"""

    kind = "false_timestamps"

    def forge(self, block: Block) -> Block:
        future_ms = self.now_ms_here + self.genesis.parameters.maxClockLeadMs + 3_600_000
        time_ms = future_ms if self.random.random() < 0.5 else self.machine.ledger.time_ms
        header = msgspec.structs.replace(block.header, time_ms=time_ms)
        return Block.create(header, block.transactions, block.evidence)


class Censorship(_ForgedProposal):
    """Proposes empty blocks, whatever waits: the next proposer includes it. P"""

    kind = "censorship"

    def forge(self, block: Block) -> Block:
        if not block.transactions:
            return block
        return self.machine.ledger.build_block(self.signer.public_key, block.header.time_ms, ())


class ProposalOutOfTurn(Behaviour):
    """Proposes a block of its own in rounds that belong to another: ignored. P"""

    kind = "proposal_out_of_turn"

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        core = self.machine.core
        if not (isinstance(message, Vote) and self.is_own(message) and message.height == core.height):
            return [message]
        key = self.signer.public_key
        # Convicted, it has no more blocks to make, and another lie of its may vote nevertheless.
        if core.validators.get_proposer(message.round).public_key == key or not core.validators.get_power(key):
            return [message]
        self.note_lie(message.height)
        block = self.machine.ledger.build_block(key, self.machine.ledger.time_ms + 1, ())
        proposal = self.sign_proposal(message.height, message.round, block.hash)
        return [proposal, BlockPart(message.height, block.data), message]
