"""A sync peer that lies: it claims heights that it has not, and answers with blocks that prove nothing. P

Whoever asks it refuses the answer and asks another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from tana.consensus.announcements import create_announcement
from tana.node.effects import Broadcast, Commit, Effect, Send, ServeBlocks
from tana.types.block import Block, Certificate, CommitSignature
from tana.types.messages import PRECOMMIT, Announcement, Blocks, BlocksRequest, FinalBlock, PeerMessage
from testbed.byzantine.base import Behaviour

MAX_REMEMBERED = 64
CLAIMED_AHEAD = 1_000


class LyingSyncPeer(Behaviour):
    """Claims heights far ahead, serves forged certificates and bodies, and invents blocks of heights to come. P"""

    kind = "lying_sync_peer"

    def prepare(self) -> None:
        self._final: deque[FinalBlock] = deque(maxlen=MAX_REMEMBERED)

    def hear(self, peer: bytes, message: PeerMessage) -> None:
        ledger = self.machine.ledger
        if isinstance(message, BlocksRequest) and message.first_height == ledger.height + 1 and self.is_on():
            self.note_lie()
            self.queued.append(Send(peer, Blocks((self._invent(),))))

    def change(self, effect: Effect) -> Sequence[Effect]:
        match effect:
            case Commit(block, certificate, _):
                self._final.append(FinalBlock(block.data, certificate))
                if self.is_on(block.height):
                    # Whoever has not decided this height yet is to ask for it, and here.
                    self.note_lie(block.height)
                    return [effect, Broadcast(self._claim(create_announcement(self.machine.core)))]
            case ServeBlocks(peer, first_height, last_height) if self.is_on():
                self.note_lie()
                known = [final for final in self._final if first_height <= final.certificate.height <= last_height]
                return [Send(peer, Blocks(tuple(self._forge(final) for final in known)))]
        return super().change(effect)

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Announcement) and self.random.random() < 0.5:
            self.note_lie()
            return [self._claim(message)]
        return [message]

    @staticmethod
    def _claim(message: Announcement) -> Announcement:
        return msgspec.structs.replace(message, height=message.height + CLAIMED_AHEAD, rounds=(), blocks=())

    def _invent(self) -> FinalBlock:
        """The next block, which nobody has decided, with a certificate of its own signature or of none."""
        ledger = self.machine.ledger
        if ledger.validators.get_power(self.signer.public_key) == 0:
            return FinalBlock(b"", Certificate(ledger.height + 1, 0, self.make_hash(ledger.height), ()))
        block = ledger.build_block(self.signer.public_key, self.now_ms_here, ())
        own = self.sign_vote(PRECOMMIT, block.height, 0, block.hash)
        keys = [item.public_key for item in ledger.validators.validators]
        if self.random.random() < 0.5:
            signatures = [CommitSignature(own.validator, own.signature)] * len(keys)
        else:
            signatures = [CommitSignature(key, self.random.randbytes(64)) for key in keys]
        return FinalBlock(block.data, Certificate(block.height, 0, block.hash, tuple(signatures)))

    def _forge(self, final: FinalBlock) -> FinalBlock:
        certificate = final.certificate
        match self.random.randrange(4):
            case 0:
                wrong = tuple(CommitSignature(item.validator, bytes(64)) for item in certificate.signatures)
                return FinalBlock(final.data, msgspec.structs.replace(certificate, signatures=wrong))
            case 1:
                twice = (certificate.signatures[0],) * len(certificate.signatures)
                return FinalBlock(final.data, msgspec.structs.replace(certificate, signatures=twice))
            case 2:
                block = Block.decode(final.data)
                header = msgspec.structs.replace(block.header, time_ms=block.header.time_ms + 1)
                return FinalBlock(Block.create(header, block.transactions, block.evidence).data, certificate)
            case _:
                return FinalBlock(final.data[:-1], certificate)
