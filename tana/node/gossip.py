"""Transactions on their way to the peers: new ones at once, those that still wait again from time to time."""

from __future__ import annotations

from collections.abc import Sequence

from tana.ledger.mempool import Mempool
from tana.types.block import RawTransaction
from tana.types.messages import Transactions
from tana.types.transaction import SignedTransaction

OFFER_INTERVALS = 10
"""Transactions that still wait are sent to the peers again once in so many announce intervals."""
OFFERED_MAX = 1000
TRANSACTIONS_PER_MESSAGE = 100
"""Few enough that their signatures, checked in one go, hold a vote up by a few ms only."""


class Gossip:
    """What was submitted here and is not sent yet, and what was waiting when it was last looked at."""

    def __init__(self, mempool: Mempool) -> None:
        self._mempool = mempool
        self._outbox: list[SignedTransaction] = []
        self._offered: dict[str, None] = {}
        self._intervals = 0

    def add(self, transaction: SignedTransaction) -> bool:
        """Let a new transaction wait for the next `take`; True for the first one, which a timer must be set for."""
        self._outbox.append(transaction)
        return len(self._outbox) == 1

    def take(self) -> list[Transactions]:
        """What was added since the last time."""
        outbox, self._outbox = self._outbox, []
        return _pack(outbox)

    def list_pending(self) -> list[Transactions]:
        """Everything that waits here, for a peer that has just connected."""
        return _pack(self._mempool.list_pending(OFFERED_MAX))

    def on_interval(self) -> list[Transactions]:
        """What has waited for a whole period: its gossip was lost, or its proposer forgot it in a crash."""
        self._intervals += 1
        if self._intervals % OFFER_INTERVALS:
            return []
        pending = self._mempool.list_pending(OFFERED_MAX)
        waiting = [transaction for transaction in pending if transaction.id in self._offered]
        self._offered = dict.fromkeys(transaction.id for transaction in pending)
        return _pack(waiting)


def _pack(transactions: Sequence[SignedTransaction]) -> list[Transactions]:
    """Messages that carry the transactions, in their order."""
    raw = [RawTransaction(transaction.text, transaction.signature) for transaction in transactions]
    starts = range(0, len(raw), TRANSACTIONS_PER_MESSAGE)
    return [Transactions(tuple(raw[start : start + TRANSACTIONS_PER_MESSAGE])) for start in starts]
