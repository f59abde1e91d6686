"""A sync peer that lies: it claims heights that it has not, and answers with blocks that prove nothing. P

Whoever asks it refuses the answer and asks another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from tana.node.effects import Commit, Effect, Send, ServeBlocks
from tana.types.block import Block, CommitSignature
from tana.types.messages import Announcement, Blocks, FinalBlock, PeerMessage
from testbed.byzantine.base import Behaviour

MAX_REMEMBERED = 64
CLAIMED_AHEAD = 1_000


class LyingSyncPeer(Behaviour):
    """Announces every other time a height far ahead, and serves forged certificates, other bodies or nothing. P"""

    kind = "lying_sync_peer"

    def prepare(self) -> None:
        self._final: deque[FinalBlock] = deque(maxlen=MAX_REMEMBERED)

    def change(self, effect: Effect) -> Sequence[Effect]:
        match effect:
            case Commit(block, certificate, _):
                self._final.append(FinalBlock(block.data, certificate))
            case ServeBlocks(peer, first_height, last_height) if self.is_on():
                self.note_lie()
                known = [final for final in self._final if first_height <= final.certificate.height <= last_height]
                return [Send(peer, Blocks(tuple(self._forge(final) for final in known)))]
        return super().change(effect)

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        if isinstance(message, Announcement) and self.random.random() < 0.5:
            self.note_lie()
            return [msgspec.structs.replace(message, height=message.height + CLAIMED_AHEAD, rounds=(), blocks=())]
        return [message]

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
