"""Clients of a simulated network: real signed transactions, sent again where no answer came, some of them bad.

A client has one transaction under way at a time. It counts as done once a node that was asked for it has it in a
durable block; until then the same bytes are sent again, to whatever node. What nobody acknowledged is unknown.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tana.crypto.keys import Signer, format_public_key
from tana.ledger.mempool import Admission
from tana.types.transaction import SignedTransaction, Transaction

CURRENCY = "USD"
RETRY_MS = 400
MAX_ATTEMPTS = 12
"""After so many a client believes that its transaction will never be taken, and asks for its nonce again."""


class Bank(Protocol):
    """Where clients send to: nodes by number."""

    def now_ms(self) -> int: ...

    def list_running(self) -> Sequence[int]:
        """Numbers of the nodes that answer now."""

    def submit(self, number: int, transaction: SignedTransaction) -> Admission | None:
        """The node's answer, None where it gave none."""

    def find_committed(self, number: int, transaction_id: str) -> int | None:
        """The height at which a node has the transaction in a durable block."""

    def get_nonce(self, number: int, account_id: str) -> int:
        """An account's next nonce, as a node knows it."""

    def get_height(self, number: int) -> int:
        """A node's last final height."""

    def acknowledge(self, number: int, transaction_id: str, height: int) -> None:
        """The node tells the client that the transaction is final."""


@dataclass
class Order:
    """What the sovereign wants done to the validator set. `height` is where it was committed, 0 before that."""

    recipient: str
    contract_input: dict[str, Any]
    height: int = 0
    refusal: str = ""


@dataclass
class _Client:
    signer: Signer
    account_id: str
    nonce: int = 0
    pending: SignedTransaction | None = None
    sent_ms: int = 0
    attempts: int = 0
    order: Order | None = None
    """Of the sovereign: what its transaction is about."""


class Clients:
    """All clients of a run. `tick` lets one of them act; `on_commit` tells them what a node has made durable."""

    def __init__(self, bank: Bank, signers: Sequence[Signer], sovereign: Signer, seed: str) -> None:
        self._bank = bank
        self._sovereign = _Client(sovereign, format_public_key(sovereign.public_key))
        self._orders: deque[Order] = deque()
        self._random = random.Random(f"{seed}/clients")
        self._clients = [_Client(signer, format_public_key(signer.public_key)) for signer in signers]
        self._waiting: dict[str, tuple[_Client, dict[int, None]]] = {}
        """By transaction id: the client, and the nodes that have taken it."""
        self.acknowledged = 0
        self.refused = 0

    def order(self, recipient: bytes, contract_input: dict[str, Any]) -> Order:
        """Let the sovereign change the validator set, once its earlier orders are done with."""
        order = Order(format_public_key(recipient), contract_input)
        self._orders.append(order)
        return order

    def tick(self) -> None:
        """One client acts: it sends something new, or again what has had no answer for too long."""
        running = self._bank.list_running()
        if not running:
            return
        self._tick_sovereign(self._random.choice(running))
        client = self._random.choice(self._clients)
        number = self._random.choice(running)
        if client.pending is None:
            client.pending = self._make(client, self._bank.get_height(number))
            client.attempts = 0
        elif self._bank.now_ms() - client.sent_ms < RETRY_MS:
            return
        self._send(client, number, client.pending)

    def _tick_sovereign(self, number: int) -> None:
        client = self._sovereign
        if client.pending is None:
            if not self._orders:
                return
            client.order = self._orders.popleft()
            client.pending = self._make_change(client.order)
            client.attempts = 0
        elif self._bank.now_ms() - client.sent_ms < RETRY_MS:
            return
        self._send(client, number, client.pending)

    def on_commit(self, number: int, transaction_ids: Sequence[str], height: int) -> None:
        """A block is durable at a node: it answers whoever waits there."""
        for transaction_id in transaction_ids:
            waiting = self._waiting.get(transaction_id)
            if waiting is not None and number in waiting[1]:
                self._finish(waiting[0], number, transaction_id, height)

    def on_death(self, number: int) -> None:
        """Whoever waited for an answer of this node waits in vain."""
        for _, nodes in self._waiting.values():
            nodes.pop(number, None)

    def _send(self, client: _Client, number: int, transaction: SignedTransaction) -> None:
        client.sent_ms = self._bank.now_ms()
        client.attempts += 1
        self._waiting.setdefault(transaction.id, (client, {}))[1][number] = None
        admission = self._bank.submit(number, transaction)
        if admission is None or transaction.id not in self._waiting:
            # It died, or the block came in the same step.
            return
        if admission.status == "committed" or admission.code == "nonce_too_low":
            height = self._bank.find_committed(number, transaction.id)
            if height is not None:
                self._finish(client, number, transaction.id, height)
                return
        if admission.status == "refused":
            self.refused += 1
            self._waiting[transaction.id][1].pop(number, None)
            # The sovereign has one transaction under way at most, so its nonce is right: it is the order that is wrong.
            is_final = admission.code in ("expired", "bad_signature") or client is self._sovereign
            if is_final or client.attempts >= MAX_ATTEMPTS:
                self._give_up(client, number, transaction)
                if client.order is not None:
                    client.order.refusal = admission.code
                    client.order = None

    def _finish(self, client: _Client, number: int, transaction_id: str, height: int) -> None:
        del self._waiting[transaction_id]
        self.acknowledged += 1
        client.nonce += 1
        client.pending = None
        if client.order is not None:
            client.order.height = height
            client.order = None
        self._bank.acknowledge(number, transaction_id, height)

    def _give_up(self, client: _Client, number: int, transaction: SignedTransaction) -> None:
        del self._waiting[transaction.id]
        client.pending = None
        client.nonce = self._bank.get_nonce(number, client.account_id)

    def _make(self, client: _Client, height: int) -> SignedTransaction:
        draw = self._random
        recipient = draw.choice([other for other in self._clients if other is not client])
        units = draw.randint(1, 900)
        kind = draw.random()
        if kind < 0.04:
            units = 10**12
        metadata = {"expiresAtHeight": height + draw.randint(0, 6)} if 0.04 <= kind < 0.12 else None
        transaction = Transaction(
            "transfer",
            client.account_id,
            recipient.account_id,
            self._bank.now_ms(),
            client.nonce,
            f"{units // 100}.{units % 100:02}",
            CURRENCY,
            metadata=metadata,
        )
        text = transaction.to_text().encode()
        signature = client.signer.sign(text if kind >= 0.03 else text + b"!")
        return SignedTransaction(text, signature, transaction)

    def _make_change(self, order: Order) -> SignedTransaction:
        client = self._sovereign
        transaction = Transaction(
            "validator_change",
            client.account_id,
            order.recipient,
            self._bank.now_ms(),
            client.nonce,
            contract_input=order.contract_input,
        )
        text = transaction.to_text().encode()
        return SignedTransaction(text, client.signer.sign(text), transaction)
