"""Votes and proposals: what validators sign (arXiv:1807.04938, section III). For the bytes see `sign_bytes`.

A *slot* is what a correct validator signs one message for: height, round and kind.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from tana.types.fields import Hash, Height, PublicKey, Round, Signature
from tana.types.sign_bytes import proposal_sign_bytes, vote_sign_bytes

PROPOSAL: Final = 0
PREVOTE: Final = 1
PRECOMMIT: Final = 2
VOTE_NAMES = {PREVOTE: "prevote", PRECOMMIT: "precommit"}


class Vote(msgspec.Struct, frozen=True, array_like=True, tag="vote", forbid_unknown_fields=True, gc=False):
    """A prevote or precommit for a block hash, or for nil (`block_hash` None)."""

    kind: Annotated[int, msgspec.Meta(ge=1, le=2)]
    height: Height
    round: Round
    block_hash: Hash | None
    validator: PublicKey
    signature: Signature

    def sign_bytes(self, chain_id: bytes) -> bytes:
        return vote_sign_bytes(chain_id, self.kind, self.height, self.round, self.block_hash)


class Proposal(msgspec.Struct, frozen=True, array_like=True, tag="proposal", forbid_unknown_fields=True, gc=False):
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
