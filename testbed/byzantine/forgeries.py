"""Messages that are not what they claim to be: dropped, and nobody else is blamed for them. P"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence

import msgspec

from tana.crypto.keys import KeyPair
from tana.node.effects import Broadcast, Effect
from tana.types.messages import (
    PRECOMMIT,
    PREVOTE,
    BlockPart,
    PeerMessage,
    Proposal,
    Vote,
    vote_sign_bytes,
)
from testbed.byzantine.base import Behaviour

MAX_REMEMBERED = 256
REPLAYED_AT_A_TIME = 8


class BadSignature(Behaviour):
    """Sends a copy of each of its votes and proposals with a wrong signature, just before the good one. P"""

    kind = "bad_signature"

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        if not isinstance(message, Vote | Proposal) or not self.is_own(message):
            return [message]
        self.note_lie(message.height)
        wrong = bytes(byte ^ 0xFF for byte in message.signature)
        bad: Vote | Proposal = msgspec.structs.replace(message, signature=wrong)
        return [bad, message]


class ForgedSender(Behaviour):
    """Sends votes and proposals in the names of its peers, signed with its own key. P"""

    kind = "forged_sender"

    def add(self) -> Sequence[Effect]:
        core = self.machine.core
        round = max(core.round, 0)
        forged: list[PeerMessage] = []
        for victim in self.peers:
            value = self.make_hash((core.height, round, victim))
            forged += [
                msgspec.structs.replace(self.sign_vote(kind, core.height, round, value), validator=victim)
                for kind in (PREVOTE, PRECOMMIT)
            ]
            forged.append(msgspec.structs.replace(self.sign_proposal(core.height, round, value), validator=victim))
        if forged:
            self.note_lie()
        return [Broadcast(message) for message in forged]


class UnknownValidator(Behaviour):
    """Sends votes and proposals that are rightly signed, by a key that has no vote. P"""

    kind = "unknown_validator"

    def add(self) -> Sequence[Effect]:
        core = self.machine.core
        height, round = core.height, max(core.round, 0)
        stranger = KeyPair.from_seed(hashlib.sha256(self.seed.encode()).digest())
        value = self.make_hash((height, round))
        self.note_lie()
        return [
            Broadcast(self.sign_vote(PREVOTE, height, round, value, stranger)),
            Broadcast(self.sign_vote(PRECOMMIT, height, round, value, stranger)),
            Broadcast(self.sign_proposal(height, round, value, signer=stranger)),
        ]


class OtherChain(Behaviour):
    """Sends, besides each vote, one for something else that it signed for another chain: no proof of anything. P"""

    kind = "other_chain"

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        if not isinstance(message, Vote) or not self.is_own(message):
            return [message]
        self.note_lie(message.height)
        value = self.make_hash((message.height, message.round))
        elsewhere = hashlib.sha256(b"another chain" + self.chain_id).digest()
        signature = self.signer.sign(vote_sign_bytes(elsewhere, message.kind, message.height, message.round, value))
        return [Vote(message.kind, message.height, message.round, value, message.validator, signature), message]


class Replay(Behaviour):
    """Sends old votes, proposals and blocks again, its own and those of others. P"""

    kind = "replay"

    def prepare(self) -> None:
        self._remembered: deque[PeerMessage] = deque(maxlen=MAX_REMEMBERED)

    def hear(self, peer: bytes, message: PeerMessage) -> None:
        self._remember(message)

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        self._remember(message)
        return [message]

    def add(self) -> Sequence[Effect]:
        count = min(REPLAYED_AT_A_TIME, len(self._remembered))
        if count:
            self.note_lie()
        return [Broadcast(message) for message in self.random.sample(list(self._remembered), count)]

    def _remember(self, message: PeerMessage) -> None:
        if isinstance(message, Vote | Proposal | BlockPart):
            self._remembered.append(message)
