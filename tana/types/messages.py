"""Messages of the consensus protocol between peers (arXiv:1807.04938, section III), and the bytes that are signed.

A signature covers a domain tag, the chain id and every field, so it is worth nothing on another chain or in
another message. The structs decode strictly: a wrong type, length or field count is refused by `decode_message`.
"""

from __future__ import annotations

import struct
from typing import Annotated

import msgspec

from tana.types.block import Certificate, Hash, PublicKey, RawTransaction, Signature
from tana.types.errors import InvalidInput

PREVOTE = 1
PRECOMMIT = 2
VOTE_NAMES = {PREVOTE: "prevote", PRECOMMIT: "precommit"}

Height = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
Round = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_NIL = b"\0" * 32


class Vote(msgspec.Struct, frozen=True, array_like=True, tag="vote", forbid_unknown_fields=True):
    """A prevote or precommit for a block hash, or for nil (`block_hash` None)."""

    kind: Annotated[int, msgspec.Meta(ge=1, le=2)]
    height: Height
    round: Round
    block_hash: Hash | None
    validator: PublicKey
    signature: Signature

    def sign_bytes(self, chain_id: bytes) -> bytes:
        return vote_sign_bytes(chain_id, self.kind, self.height, self.round, self.block_hash)


class Proposal(msgspec.Struct, frozen=True, array_like=True, tag="proposal", forbid_unknown_fields=True):
    """A proposer's signed claim for a round; the block itself travels as a `BlockPart`.

    `valid_round` is the round in which the proposer saw a polka for this block, −1 for a fresh block.
    """

    height: Height
    round: Round
    block_hash: Hash
    valid_round: Annotated[int, msgspec.Meta(ge=-1, le=2**31)]
    validator: PublicKey
    signature: Signature

    def sign_bytes(self, chain_id: bytes) -> bytes:
        return proposal_sign_bytes(chain_id, self.height, self.round, self.block_hash, self.valid_round)


class BlockPart(msgspec.Struct, frozen=True, array_like=True, tag="block", forbid_unknown_fields=True):
    """The bytes of a proposed block. Unsigned: its hash is what a proposal signs."""

    height: Height
    data: bytes


class RoundVotes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node holds of one round: bit i of a mask stands for validator i of the height's set."""

    round: Round
    prevotes_mask: Annotated[bytes, msgspec.Meta(max_length=32)]
    precommits_mask: Annotated[bytes, msgspec.Meta(max_length=32)]
    proposal: bool


class Announcement(msgspec.Struct, frozen=True, array_like=True, tag="announce", forbid_unknown_fields=True):
    """What a node has of its current height, so that a peer can send what it lacks (and nothing else).

    `height` is the height being decided; `blocks` are the hashes of the proposed blocks it holds whole.
    """

    height: Height
    round: Annotated[int, msgspec.Meta(ge=-1, le=2**31)]
    step: Annotated[int, msgspec.Meta(ge=0, le=3)]
    rounds: Annotated[tuple[RoundVotes, ...], msgspec.Meta(max_length=64)]
    blocks: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=64)]


class Transactions(msgspec.Struct, frozen=True, array_like=True, tag="transactions", forbid_unknown_fields=True):
    """Transactions on their way into the peers' mempools."""

    transactions: Annotated[tuple[RawTransaction, ...], msgspec.Meta(max_length=1000)]


class BlocksRequest(msgspec.Struct, frozen=True, array_like=True, tag="get_blocks", forbid_unknown_fields=True):
    """Asks for final blocks from `first_height` on; the answer holds as many as fit."""

    first_height: Height
    last_height: Height


class FinalBlock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A final block's bytes with a certificate for it."""

    data: bytes
    certificate: Certificate


class Blocks(msgspec.Struct, frozen=True, array_like=True, tag="blocks", forbid_unknown_fields=True):
    """The answer to a `BlocksRequest`: consecutive final blocks, possibly none."""

    blocks: Annotated[tuple[FinalBlock, ...], msgspec.Meta(max_length=256)]


PeerMessage = Vote | Proposal | BlockPart | Announcement | Transactions | BlocksRequest | Blocks

_message_decoder: msgspec.msgpack.Decoder[PeerMessage] = msgspec.msgpack.Decoder(PeerMessage)


def decode_message(data: bytes) -> PeerMessage:
    """A message from a peer's frame. Raises `InvalidInput` for any other bytes."""
    try:
        return _message_decoder.decode(data)
    # A tag that is not UTF-8 is a UnicodeDecodeError, which is no DecodeError.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the frame cannot be decoded: {error}", code="malformed_frame") from None


def vote_sign_bytes(chain_id: bytes, kind: int, height: int, round: int, block_hash: bytes | None) -> bytes:
    """The bytes a validator signs for a vote. Nil is marked apart from the all-zero hash."""
    return struct.pack(
        ">12s32sBQIB32s",
        b"tana/vote/1",
        chain_id,
        kind,
        height,
        round,
        block_hash is not None,
        block_hash or _NIL,
    )


def proposal_sign_bytes(chain_id: bytes, height: int, round: int, block_hash: bytes, valid_round: int) -> bytes:
    """The bytes a proposer signs."""
    return struct.pack(">16s32sQI32sq", b"tana/proposal/1", chain_id, height, round, block_hash, valid_round)
