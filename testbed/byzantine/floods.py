"""Too much, too far ahead, or not even messages: memory stays bounded, frames are refused, nobody crashes. P"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tana.node.effects import Broadcast, Effect
from tana.node.links import MAX_FRAME_BYTES
from tana.types.evidence import Evidence
from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart, EvidenceMessage, PeerMessage, Vote
from testbed.byzantine.base import Behaviour

VOTES_AT_A_TIME = 40
FIRST_FUTURE_ROUND = 1_000
"""So far ahead that no honest vote of this node can ever contradict one of the flood."""
ACCUSATIONS_AT_A_TIME = 2
MALFORMED_INTERVALS = 10
"""Malformed frames end the link, so they come once in so many announce intervals."""


class FutureFlood(Behaviour):
    """Sends votes for rounds and heights far ahead, in bulk and rightly signed. P"""

    kind = "future_flood"

    def add(self) -> Sequence[Effect]:
        height = self.machine.core.height
        self.note_lie()
        flood: list[PeerMessage] = []
        for number in range(VOTES_AT_A_TIME):
            # Most for the height being decided: there they would have to be kept.
            ahead = height + max(0, number % 8 - 5)
            round = FIRST_FUTURE_ROUND + self.random.randrange(1_000)
            flood.append(self.sign_vote(PREVOTE if number % 2 else PRECOMMIT, ahead, round, None))
        flood.append(BlockPart(height + 1, self.random.randbytes(1_000)))
        return [Broadcast(message) for message in flood]


class MadeUpEvidence(Behaviour):
    """Accuses its peers of votes that they never signed, in bulk, and of what is no offence at all. P"""

    kind = "made_up_evidence"

    def add(self) -> Sequence[Effect]:
        core = self.machine.core
        effects: list[Effect] = []
        for victim in self.peers:
            for number in range(ACCUSATIONS_AT_A_TIME):
                height = max(core.height - number, 1)
                votes = [self._forge(victim, height, self.make_hash((victim, height, side))) for side in range(2)]
                effects.append(Broadcast(EvidenceMessage(Evidence.create(*votes))))
        # The same vote twice, and votes of two rounds: well signed, and nothing to blame anybody for.
        vote, later = (self.sign_vote(PREVOTE, core.height, round, None) for round in range(2))
        effects += [Broadcast(EvidenceMessage(Evidence(vote, other))) for other in (vote, later)]
        self.note_lie()
        return effects

    def _forge(self, victim: bytes, height: int, block_hash: bytes) -> Vote:
        vote = self.sign_vote(PREVOTE, height, 0, block_hash)
        return Vote(vote.kind, height, 0, block_hash, victim, vote.signature)


class MalformedFrames(Behaviour):
    """Sends frames that are no messages: garbage, torn, wrong types, too large. Each ends its link. P"""

    kind = "malformed_frames"
    _intervals = 0

    def add(self) -> Sequence[Effect]:
        self._intervals += 1
        if self._intervals % MALFORMED_INTERVALS != 1:
            return ()
        self.note_lie()
        return [Broadcast(make_frame(self._choose()))]

    def _choose(self) -> bytes:
        core = self.machine.core
        vote = msgspec.msgpack.encode(self.sign_vote(PREVOTE, core.height, 0, None))
        number = self._intervals // MALFORMED_INTERVALS
        kinds = (
            b"",
            self.random.randbytes(64),
            vote[: len(vote) // 2],
            vote + b"\x00",
            msgspec.msgpack.encode(["vote", "one", -1, None]),
            msgspec.msgpack.encode([b"\xff\xfe", 1]),
            b"\x91" * 10_000,
            bytes(MAX_FRAME_BYTES + 1),
        )
        return kinds[number % len(kinds)]


def make_frame(data: bytes) -> PeerMessage:
    """Bytes that leave as they are: the encoder of links passes on what is encoded already."""
    raw: PeerMessage = msgspec.Raw(data)  # type: ignore[assignment]
    return raw
