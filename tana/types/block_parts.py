"""What blocks are made of: headers, transactions as they travel, certificates, and their encoding (see `block`)."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from tana.types.evidence import MAX_EVIDENCE_PER_BLOCK, Evidence
from tana.types.fields import Count, Hash, Height, PublicKey, Round, Signature
from tana.types.transaction import compute_leaf


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a block's hash covers, and through it everything that validators agreed on.

    Hashes are 32 bytes, times in ms since 1970. `producer` is the first proposer of the block; a later round may
    propose the same block again.
    """

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    chain_id: Hash
    height: Height
    parent: Hash
    time_ms: Count
    producer: PublicKey
    transaction_count: Count
    transactions_root: Hash
    state_root: Hash
    validators_hash: Hash
    next_validators_hash: Hash
    evidence_root: Hash

    def compute_hash(self) -> bytes:
        """SHA-256 of the domain tag and the header's encoding."""
        return hashlib.sha256(b"tana/header/1" + _encoder.encode(self)).digest()


class RawTransaction(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A transaction inside a block or frame: signed text and signature, neither parsed nor verified."""

    text: bytes
    signature: Signature

    @property
    def leaf(self) -> bytes:
        """The same 32 bytes as `SignedTransaction.leaf`."""
        return compute_leaf(self.text, self.signature)


class BlockData(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a block is, as it is encoded."""

    header: Header
    transactions: tuple[RawTransaction, ...]
    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(max_length=MAX_EVIDENCE_PER_BLOCK)]


class CommitSignature(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One validator's precommit inside a certificate."""

    validator: PublicKey
    signature: Signature


class Certificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Precommits of one round for one block with more than two thirds of the power: the proof that it is final.

    Two nodes may hold different valid certificates for one block, so it is never part of what is hashed.
    """

    height: Height
    round: Round
    block_hash: Hash
    signatures: Annotated[tuple[CommitSignature, ...], msgspec.Meta(max_length=256)]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BlockData)

encode_block_data = _encoder.encode
decode_block_data = _decoder.decode
