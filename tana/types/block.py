"""Blocks, headers and commit certificates, and their one binary encoding (msgpack arrays in field order)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from tana.types.errors import InvalidInput
from tana.types.evidence import MAX_EVIDENCE_PER_BLOCK, Evidence
from tana.types.fields import Count, Hash, Height, PublicKey, Round, Signature
from tana.types.lazy import lazy

MAX_BLOCK_BYTES = 4 * 1024 * 1024
"""No block is larger, whatever a genesis says."""

NO_EVIDENCE_ROOT = hashlib.sha256(b"").digest()


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
        return hashlib.sha256(self.text + self.signature).digest()


class _BlockData(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    header: Header
    transactions: tuple[RawTransaction, ...]
    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(max_length=MAX_EVIDENCE_PER_BLOCK)]


@dataclass(frozen=True)
class Block:
    """A header, its transactions and evidence, and the bytes they were decoded from (so nothing is encoded twice)."""

    header: Header
    transactions: tuple[RawTransaction, ...]
    evidence: tuple[Evidence, ...]
    data: bytes

    @classmethod
    def create(cls, header: Header, transactions: Sequence[RawTransaction], evidence: Sequence[Evidence] = ()) -> Block:
        body = _BlockData(header, tuple(transactions), tuple(evidence))
        return cls(header, body.transactions, body.evidence, _encoder.encode(body))

    @classmethod
    def decode(cls, data: bytes) -> Block:
        """A block from its bytes. Raises `InvalidInput` for anything but one whole block in its one encoding."""
        if len(data) > MAX_BLOCK_BYTES:
            raise InvalidInput(f"the block has {len(data)} bytes, over the bound of {MAX_BLOCK_BYTES}", field="block")
        try:
            body = _block_decoder.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput(f"the block cannot be decoded: {error}", code="malformed_block", field="block") from None
        block = cls.create(body.header, body.transactions, body.evidence)
        if block.data != data:
            raise InvalidInput("the block is not in its canonical encoding", code="malformed_block", field="block")
        return block

    @lazy
    def hash(self) -> bytes:
        return self.header.compute_hash()

    @lazy
    def leaves(self) -> tuple[bytes, ...]:
        """What the transactions root is computed from."""
        return tuple(raw.leaf for raw in self.transactions)

    @property
    def height(self) -> int:
        return self.header.height


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
_block_decoder = msgspec.msgpack.Decoder(_BlockData)
