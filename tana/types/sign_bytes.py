"""The bytes that are signed for votes and proposals.

A signature covers a domain tag, the chain id and every field, so it is worth nothing on another chain or in
another message.
"""

from __future__ import annotations

import struct

_NIL = b"\0" * 32
_pack_vote = struct.Struct(">12s32sBQIB32s").pack
_pack_proposal = struct.Struct(">16s32sQI32sq").pack


def vote_sign_bytes(chain_id: bytes, kind: int, height: int, round: int, block_hash: bytes | None) -> bytes:
    """The bytes a validator signs for a vote. Nil is marked apart from the all-zero hash."""
    return _pack_vote(b"tana/vote/1", chain_id, kind, height, round, block_hash is not None, block_hash or _NIL)


def proposal_sign_bytes(chain_id: bytes, height: int, round: int, block_hash: bytes, valid_round: int) -> bytes:
    """The bytes a proposer signs."""
    return _pack_proposal(b"tana/proposal/1", chain_id, height, round, block_hash, valid_round)
