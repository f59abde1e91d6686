"""A bounded memory of transactions whose signatures were verified, shared by the mempool and the ledger.

Its key is the leaf, the hash of text *and* signature: a copy of a good text with a bad signature neither finds the
good one nor replaces it. What is found is the parsed transaction, so a block's bytes need no second parsing.
"""

from __future__ import annotations

from collections.abc import Iterable

from tana.types.transaction import SignedTransaction

MAX_TRANSACTIONS = 50_000
"""More than a full mempool and a full block together; the oldest are forgotten first."""


class VerifiedMemory:
    """Verified transactions by leaf. Forgetting one costs a second verification, never correctness."""

    def __init__(self, max_transactions: int = MAX_TRANSACTIONS) -> None:
        self._max_transactions = max_transactions
        self._transactions: dict[bytes, SignedTransaction] = {}

    def __len__(self) -> int:
        return len(self._transactions)

    def get(self, leaf: bytes) -> SignedTransaction | None:
        """The verified transaction of a leaf, None where it is not remembered."""
        return self._transactions.get(leaf)

    def remember(self, transaction: SignedTransaction) -> None:
        """Keep a transaction whose signature has just been verified."""
        if len(self._transactions) >= self._max_transactions:
            # A dict keeps the order of insertion: the first is the oldest.
            del self._transactions[next(iter(self._transactions))]
        self._transactions[transaction.leaf] = transaction

    def forget(self, leaves: Iterable[bytes]) -> None:
        """Let go of transactions that are final: their nonces are used, nobody will ask again."""
        for leaf in leaves:
            self._transactions.pop(leaf, None)
