"""Where final blocks are read from: the store of a real node, or a list in memory in the simulation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tana.ledger.ledger import Execution
from tana.types.block import Block, Certificate
from tana.types.messages import Blocks, FinalBlock

MAX_ANSWER_BYTES = 6 * 1024 * 1024
"""A `Blocks` answer stops before it grows over this, so that with one more block it still fits a frame."""
MAX_ANSWER_BLOCKS = 256


class StoredBlock:
    """A final block's bytes and a certificate for it. Immutable."""

    __slots__ = ("certificate", "data")

    def __init__(self, data: bytes, certificate: Certificate) -> None:
        self.data = data
        self.certificate = certificate


class BlockSource(Protocol):
    """Final blocks by height, and where a transaction was committed."""

    @property
    def height(self) -> int:
        """The last final height, 0 before block 1."""
        ...

    def get_block(self, height: int) -> StoredBlock | None: ...

    def find_transaction(self, transaction_id: str) -> int | None:
        """The height that committed a transaction (64 hex characters), or None."""
        ...

    def find_block(self, block_hash: bytes) -> int | None:
        """The height of a final block, None where no final block has that hash."""
        ...


class MemoryBlocks:
    """Final blocks in memory: nothing survives the process."""

    def __init__(self) -> None:
        self._blocks: list[StoredBlock] = []
        self._heights: dict[str, int] = {}
        self._heights_by_hash: dict[bytes, int] = {}

    @property
    def height(self) -> int:
        return len(self._blocks)

    def append(self, block: Block, certificate: Certificate, execution: Execution) -> None:
        height = block.height
        assert height == self.height + 1, "blocks are final in order"
        self._blocks.append(StoredBlock(block.data, certificate))
        self._heights_by_hash[block.hash] = height
        for transaction_id in execution.transaction_ids:
            self._heights[transaction_id] = height

    def get_block(self, height: int) -> StoredBlock | None:
        return self._blocks[height - 1] if 1 <= height <= self.height else None

    def find_transaction(self, transaction_id: str) -> int | None:
        return self._heights.get(transaction_id)

    def find_block(self, block_hash: bytes) -> int | None:
        return self._heights_by_hash.get(block_hash)


def read_answer(blocks: BlockSource, first_height: int, last_height: int) -> Blocks:
    """The answer to a peer's request: consecutive final blocks from `first_height`, as many as fit one frame."""
    return Blocks(tuple(_read_while_fitting(blocks, first_height, last_height)))


def _read_while_fitting(blocks: BlockSource, first_height: int, last_height: int) -> Iterator[FinalBlock]:
    size_bytes = 0
    last = min(last_height, blocks.height, first_height + MAX_ANSWER_BLOCKS - 1)
    for height in range(first_height, last + 1):
        stored = blocks.get_block(height)
        assert stored is not None, "heights up to the tip are all there"
        size_bytes += len(stored.data) + 128 * len(stored.certificate.signatures)
        if size_bytes > MAX_ANSWER_BYTES and height > first_height:
            return
        yield FinalBlock(stored.data, stored.certificate)
