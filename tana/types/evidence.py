"""Evidence: two messages by one validator of which a correct one signs at most one.

A correct validator signs one message for each slot (height, round, and proposal, prevote or precommit); what it sends
again, after a restart too, is that very message. So two messages for one slot that differ in anything the signature
covers convict their signer and nobody else; for a proposal that includes the valid round. Two different signatures
under equal fields prove nothing: anybody may hold an odd but valid copy.
"""

from __future__ import annotations

import hashlib

import msgspec

from tana.types.errors import InvalidInput
from tana.types.lazy import lazy
from tana.types.vote import PROPOSAL, VOTE_NAMES, Proposal, Vote

MAX_EVIDENCE_PER_BLOCK = 16
"""Evidence beyond this waits for the next block: too much of it must never make a block that nobody accepts."""

EVIDENCE_BYTES_MAX = 384
"""More than the encoding of one evidence ever takes."""


class Evidence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """Two conflicting messages of one slot, the one with the lesser value first (nil least). Not yet checked."""

    first: Vote | Proposal
    second: Vote | Proposal

    @classmethod
    def create(cls, one: Vote | Proposal, other: Vote | Proposal) -> Evidence:
        """The evidence that two conflicting messages of one slot are, whichever came first."""
        assert get_slot(one) == get_slot(other)
        first, second = sorted((one, other), key=get_value)
        return cls(first, second)

    @property
    def validator(self) -> bytes:
        """The offender's 32-byte key."""
        return self.first.validator

    @property
    def height(self) -> int:
        """The height that both messages are about."""
        return self.first.height

    @property
    def kind(self) -> str:
        """What was signed twice: `proposal`, `prevote` or `precommit`."""
        return VOTE_NAMES[self.first.kind] if isinstance(self.first, Vote) else "proposal"

    @lazy
    def hash(self) -> bytes:
        """32 bytes that name it, and a leaf of a block's evidence root."""
        return hashlib.sha256(b"tana/evidence/1" + _encoder.encode(self)).digest()

    def check_form(self) -> None:
        """Raises `InvalidInput` where these are not two conflicting messages of one slot in their one order."""
        if get_slot(self.first) != get_slot(self.second):
            raise _refuse("its messages are not of one validator, height, round and kind")
        if get_value(self.first) == get_value(self.second):
            raise _refuse("its messages say the same")
        if get_value(self.first) > get_value(self.second):
            raise _refuse("its messages are not in order")


def get_slot(message: Vote | Proposal) -> tuple[bytes, int, int, int]:
    """Validator, height, round and kind: a correct validator signs one message for each."""
    kind = message.kind if isinstance(message, Vote) else PROPOSAL
    return message.validator, message.height, message.round, kind


def get_value(message: Vote | Proposal) -> tuple[bytes, int]:
    """What a message says in its slot, as something that can be ordered."""
    if isinstance(message, Proposal):
        return message.block_hash, message.valid_round
    return message.block_hash or b"", 0


def _refuse(reason: str) -> InvalidInput:
    return InvalidInput(f"the evidence proves nothing: {reason}", code="malformed_evidence", field="evidence")


_encoder = msgspec.msgpack.Encoder()
