"""Whether a block's body is the one that its header commits to.

A block's hash covers the header alone. Whoever takes a block from a peer checks the body first: else a liar could put
another body under a good header, and the good block would be taken for invalid.
"""

from __future__ import annotations

from tana.crypto import merkle
from tana.types.block import Block
from tana.types.errors import InvalidInput


def verify_body(block: Block) -> None:
    """Check transaction count and root, and the evidence root, against the header. Raises `InvalidInput`."""
    header = block.header
    if header.transaction_count != len(block.transactions):
        raise InvalidInput(
            f"the header counts {header.transaction_count} transactions and the body has {len(block.transactions)}",
            code="wrong_body",
            field="transactions",
        )
    root = merkle.compute_root(block.leaves)
    if root != header.transactions_root:
        raise InvalidInput(
            f"the header's transactions root is {header.transactions_root.hex()} and the body's is {root.hex()}",
            code="wrong_body",
            field="transactions",
        )
    root = merkle.compute_root([item.hash for item in block.evidence])
    if root != header.evidence_root:
        raise InvalidInput(
            f"the header's evidence root is {header.evidence_root.hex()} and the body's is {root.hex()}",
            code="wrong_body",
            field="evidence",
        )
