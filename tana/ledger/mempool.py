"""The mempool: verified transactions that wait for their turn.

Theory of operation. Each sender has a queue by nonce. A queue whose lowest nonce is the account's next one is
*ready*; its *head* has been applied, for trial, to the tip's state. The rules behind `has_work` and `candidates`:

1. No head is one that the tip's state refuses. After a commit a head is tried again where a row changed that it
   depends on: its sender's account, or one of `get_dependencies`. So `has_work` never promises an empty block.
2. When a transaction is dropped, all later ones of its sender are dropped with it: they could not run.
3. A transaction above a gap waits for the missing nonces, `MAX_GAP_HEIGHTS` blocks at most.
4. Everything is bounded: count, bytes, and nonces ahead per sender. Nothing is evicted to make room.

Senders take turns in order of arrival; one that was served goes to the back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tana.ledger.ledger import HEADER_BYTES_MAX, TRANSACTION_OVERHEAD_BYTES_MAX, Execution, Ledger
from tana.ledger.refusal import TransactionRefused
from tana.ledger.rows import account_key, decode_account
from tana.ledger.rules import apply_transaction, check_form, get_dependencies, get_expiry
from tana.ledger.state import State
from tana.types.transaction import SignedTransaction

MAX_GAP_HEIGHTS = 100
"""Blocks that a transaction waits for the nonces before it."""

MAX_RECENT = 10_000
"""Committed ids that are remembered, so that a late copy is answered `committed`."""


class Admission(NamedTuple):
    """The answer to one submitted transaction; `code`, `message`, `field` and `remedy` only where refused."""

    status: Literal["accepted", "known", "refused", "committed"]
    id: str
    code: str = ""
    message: str = ""
    field: str = ""
    remedy: str = ""


class _Queue:
    """One sender's transactions by nonce; `next_nonce` is the account's, at the tip.

    `dependencies` are the watched rows of the head; `waits_until` is the height at which a gap has lasted too long.
    """

    __slots__ = ("dependencies", "next_nonce", "transactions", "waits_until")

    def __init__(self, next_nonce: int) -> None:
        self.next_nonce = next_nonce
        self.transactions: dict[int, SignedTransaction] = {}
        self.dependencies: tuple[bytes, ...] = ()
        self.waits_until = 0


class Mempool:
    """Pending transactions. `len(mempool)` counts them, `size_bytes` sums texts and signatures."""

    def __init__(
        self,
        ledger: Ledger,
        max_transactions: int = 20_000,
        max_bytes: int = 32 * 1024 * 1024,
        max_per_sender: int = 5_000,
    ) -> None:
        self.size_bytes = 0
        self._ledger = ledger
        self._max_transactions = max_transactions
        self.max_bytes = max_bytes
        self._max_per_sender = max_per_sender
        self._by_id: dict[str, SignedTransaction] = {}
        # Dicts stand for ordered sets throughout: the order of a set of bytes differs between processes.
        self._queues: dict[bytes, _Queue] = {}
        self._ready: dict[bytes, None] = {}
        self._dependents: dict[bytes, dict[bytes, None]] = {}
        self._expiring: dict[int, dict[str, None]] = {}
        self._waiting: dict[int, dict[bytes, None]] = {}
        self._recent: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, stx: SignedTransaction) -> Admission:
        """Take a transaction in, if the rules allow it now or may once its turn comes. Verifies its signature once."""
        if stx.id in self._by_id:
            return Admission("known", stx.id)
        if stx.id in self._recent:
            return Admission("committed", stx.id)
        try:
            next_nonce = self._check(stx)
        except TransactionRefused as error:
            return Admission("refused", stx.id, error.code, error.message, error.field, error.remedy)
        self._insert(stx, next_nonce)
        return Admission("accepted", stx.id)

    def has_work(self) -> bool:
        """Whether some transaction can be executed on the tip's state now."""
        return bool(self._ready)

    def candidates(self) -> Iterator[SignedTransaction]:
        """What may go into the next block: sender by sender, each from its next nonce up to the first gap."""
        for sender in self._ready:
            queue = self._queues[sender]
            nonce = queue.next_nonce
            while (stx := queue.transactions.get(nonce)) is not None:
                yield stx
                nonce += 1

    def get(self, transaction_id: str) -> SignedTransaction | None:
        """A pending transaction by its id."""
        return self._by_id.get(transaction_id)

    def list_pending(self, limit: int = 1000) -> list[SignedTransaction]:
        """Pending transactions in order of arrival."""
        return [stx for _, stx in zip(range(limit), self._by_id.values(), strict=False)]

    def on_commit(self, execution: Execution) -> list[tuple[str, str]]:
        """Move to the tip that a committed block made. Returns id and reason of each transaction that can run no more.

        Call it right after `Ledger.commit`, for every block.
        """
        self._remember_committed(execution.transaction_ids)
        committed = frozenset(execution.transaction_ids)
        dropped: list[tuple[str, str]] = []
        affected: dict[bytes, None] = {}
        for key, row in execution.changes:
            if key in self._dependents:
                affected.update(self._dependents[key])
            queue = self._queues.get(key)
            if queue is not None:
                assert row is not None, "accounts are never removed"
                unused = self._move_on(key, queue, decode_account(row).nonce)
                dropped += [(stx.id, "nonce_too_low") for stx in unused if stx.id not in committed]
                affected[key] = None
        for sender in affected:
            dropped += self._try_head(sender)
        return dropped + self._drop_overdue()

    def _check(self, stx: SignedTransaction) -> int:
        """The next nonce of the sender's account. Raises `TransactionRefused`.

        The signature comes last: it costs more than everything before it.
        """
        transaction, ledger = stx.transaction, self._ledger
        self._check_room(stx)
        state = State(ledger.tree)
        account = state.get_account(transaction.sender)
        next_nonce = 0 if account is None else account.nonce
        if transaction.nonce <= next_nonce:
            apply_transaction(state, transaction, ledger.context)
        else:
            check_form(transaction, ledger.context)
        queue = self._queues.get(account_key(transaction.sender))
        if account is None and transaction.nonce > 0 and queue is None:
            raise TransactionRefused("unknown_account", f"account {transaction.sender} does not exist", field="from")
        if transaction.nonce >= next_nonce + self._max_per_sender:
            raise TransactionRefused(
                "nonce_too_high",
                f"nonce is {transaction.nonce}, too far ahead of the account's next, {next_nonce}",
                field="nonce",
            )
        if queue is not None and transaction.nonce in queue.transactions:
            raise TransactionRefused(
                "nonce_taken", f"another transaction with nonce {transaction.nonce} is pending", field="nonce"
            )
        if not ledger.is_verified(stx):
            raise TransactionRefused("bad_signature", "the signature is not by from", field="signature")
        return next_nonce

    def _check_room(self, stx: SignedTransaction) -> None:
        overhead_bytes = HEADER_BYTES_MAX + TRANSACTION_OVERHEAD_BYTES_MAX
        if stx.size_bytes + overhead_bytes > self._ledger.genesis.parameters.maxBlockBytes:
            raise TransactionRefused(
                "too_large", f"the transaction's {stx.size_bytes} bytes fit no block of this chain"
            )
        if len(self._by_id) >= self._max_transactions or self.size_bytes + stx.size_bytes > self.max_bytes:
            raise TransactionRefused("mempool_full", "the mempool is full", remedy="send it again in a moment")

    def _insert(self, stx: SignedTransaction, next_nonce: int) -> None:
        transaction = stx.transaction
        sender = account_key(transaction.sender)
        queue = self._queues.get(sender)
        if queue is None:
            queue = self._queues[sender] = _Queue(next_nonce)
            self._start_waiting(sender, queue)
        queue.transactions[transaction.nonce] = stx
        self._by_id[stx.id] = stx
        self.size_bytes += stx.size_bytes
        if transaction.nonce == queue.next_nonce:
            self._set_head(sender, queue)
        expires = get_expiry(transaction)
        if expires is not None:
            self._expiring.setdefault(expires, {})[stx.id] = None

    def _remove(self, sender: bytes, queue: _Queue, nonce: int) -> SignedTransaction:
        stx = queue.transactions.pop(nonce)
        del self._by_id[stx.id]
        self.size_bytes -= stx.size_bytes
        if nonce == queue.next_nonce:
            self._clear_head(sender, queue)
        if not queue.transactions:
            del self._queues[sender]
        expires = get_expiry(stx.transaction)
        # A height may lie so far ahead that it never comes: nothing of the transaction may wait for it.
        if expires in self._expiring:
            self._expiring[expires].pop(stx.id, None)
            if not self._expiring[expires]:
                del self._expiring[expires]
        return stx

    def _remove_from(self, sender: bytes, queue: _Queue, nonce: int, reason: str) -> list[tuple[str, str]]:
        """Remove a transaction and every later one of its sender; returns ids and reasons."""
        later = sorted(number for number in queue.transactions if number > nonce)
        dropped = [(self._remove(sender, queue, nonce).id, reason)]
        return dropped + [(self._remove(sender, queue, number).id, "earlier_dropped") for number in later]

    def _move_on(self, sender: bytes, queue: _Queue, next_nonce: int) -> list[SignedTransaction]:
        """Take out the transactions whose nonces a block used up, whether by them or by others."""
        used = [nonce for nonce in range(queue.next_nonce, next_nonce) if nonce in queue.transactions]
        removed = [self._remove(sender, queue, nonce) for nonce in used]
        if queue.next_nonce < next_nonce and queue.transactions:
            self._clear_head(sender, queue)
            queue.next_nonce = next_nonce
            if next_nonce in queue.transactions:
                self._set_head(sender, queue)
            else:
                self._start_waiting(sender, queue)
        return removed

    def _try_head(self, sender: bytes) -> list[tuple[str, str]]:
        """Drop a sender's queue where the tip's state refuses its head."""
        if sender not in self._ready:
            return []
        queue = self._queues[sender]
        head = queue.transactions[queue.next_nonce]
        try:
            apply_transaction(State(self._ledger.tree), head.transaction, self._ledger.context)
        except TransactionRefused as error:
            return self._remove_from(sender, queue, queue.next_nonce, error.code)
        return []

    def _drop_overdue(self) -> list[tuple[str, str]]:
        """Drop what expires at this height, and queues that have waited too long for a missing nonce."""
        height = self._ledger.height
        dropped: list[tuple[str, str]] = []
        for transaction_id in self._expiring.pop(height, ()):
            stx = self._by_id.get(transaction_id)
            if stx is not None:
                sender = account_key(stx.transaction.sender)
                dropped += self._remove_from(sender, self._queues[sender], stx.transaction.nonce, "expired")
        for sender in self._waiting.pop(height, ()):
            queue = self._queues.get(sender)
            if queue is not None and sender not in self._ready and queue.waits_until == height:
                dropped += self._remove_from(sender, queue, min(queue.transactions), "nonce_gap")
        return dropped

    def _set_head(self, sender: bytes, queue: _Queue) -> None:
        self._ready[sender] = None
        queue.dependencies = get_dependencies(queue.transactions[queue.next_nonce].transaction)
        for key in queue.dependencies:
            self._dependents.setdefault(key, {})[sender] = None

    def _clear_head(self, sender: bytes, queue: _Queue) -> None:
        self._ready.pop(sender, None)
        for key in queue.dependencies:
            dependents = self._dependents[key]
            del dependents[sender]
            if not dependents:
                del self._dependents[key]
        queue.dependencies = ()

    def _start_waiting(self, sender: bytes, queue: _Queue) -> None:
        queue.waits_until = self._ledger.height + MAX_GAP_HEIGHTS
        self._waiting.setdefault(queue.waits_until, {})[sender] = None

    def _remember_committed(self, transaction_ids: tuple[str, ...]) -> None:
        for transaction_id in transaction_ids:
            if len(self._recent) >= MAX_RECENT:
                del self._recent[next(iter(self._recent))]
            self._recent[transaction_id] = None
