"""Blocks, and their one binary encoding (msgpack arrays in field order)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from tana.types.block_parts import (
    BlockData,
    Certificate,
    CommitSignature,
    Header,
    RawTransaction,
    decode_block_data,
    encode_block_data,
)
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.transaction import compute_leaf

__all__ = [
    "MAX_BLOCK_BYTES",
    "NO_EVIDENCE_ROOT",
    "Block",
    "Certificate",
    "CommitSignature",
    "Header",
    "RawTransaction",
]

MAX_BLOCK_BYTES = 4 * 1024 * 1024
"""No block is larger, whatever a genesis says."""

NO_EVIDENCE_ROOT = hashlib.sha256(b"").digest()


class Block:
    """A header, its transactions and evidence, and the bytes they were decoded from (so nothing is encoded twice).

    Immutable. `hash` is that of the header, `leaves` are what the transactions root is computed from.
    """

    __slots__ = ("data", "evidence", "hash", "header", "height", "leaves", "transactions")

    def __init__(self, body: BlockData) -> None:
        self.header = body.header
        self.transactions = body.transactions
        self.evidence = body.evidence
        self.data: bytes = encode_block_data(body)
        self.height = self.header.height
        self.hash = self.header.compute_hash()
        self.leaves = tuple([compute_leaf(raw.text, raw.signature) for raw in self.transactions])

    @classmethod
    def create(cls, header: Header, transactions: Sequence[RawTransaction], evidence: Sequence[Evidence] = ()) -> Block:
        return Block(BlockData(header, tuple(transactions), tuple(evidence)))

    @classmethod
    def decode(cls, data: bytes) -> Block:
        """A block from its bytes. Raises `InvalidInput` for anything but one whole block in its one encoding."""
        if len(data) > MAX_BLOCK_BYTES:
            raise InvalidInput(f"the block has {len(data)} bytes, over the bound of {MAX_BLOCK_BYTES}", field="block")
        try:
            body = decode_block_data(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput(f"the block cannot be decoded: {error}", code="malformed_block", field="block") from None
        block = Block(body)
        if block.data != data:
            raise InvalidInput("the block is not in its canonical encoding", code="malformed_block", field="block")
        return block

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)
