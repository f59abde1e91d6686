"""Real signed transactions in the order in which they must be sent: users, deposits, transfers, and some again."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any

from tana.crypto.keys import KeyPair, format_signature
from tana.types.transaction import Transaction
from testbed.plan import Plan, make_key
from testbed.steps import Load

CURRENCY, DECIMALS = "USD", 2
DEPOSIT_UNITS = 100_000
MAX_TRANSFER_UNITS = 500


@dataclass(frozen=True)
class Sending:
    """One transaction on its way to one validator."""

    id: str
    target: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Phase:
    """Transactions that may be sent at once: whatever they build on is final before."""

    name: str
    sendings: tuple[Sending, ...]
    retries: tuple[Sending, ...]
    """The same transactions again, to another validator."""


class Workload:
    """Builds the transactions of a run; keeps each account's next nonce. The seed decides everything but the time."""

    def __init__(self, plan: Plan, load: Load, chain_id: str) -> None:
        self._plan = plan
        self._load = load
        self._chain_id = chain_id
        self._random = random.Random(f"{plan.seed}/workload")
        self._nonces: dict[str, int] = {}
        self.users = [make_key(plan.seed, f"user/{number}") for number in range(load.users)]

    @property
    def accounts(self) -> list[str]:
        """Every account that exists once the load is done."""
        return [self._plan.sovereign.public_text, *(user.public_text for user in self.users)]

    def make_users(self, now_ms: int) -> Phase:
        """Every user creates its own account."""
        sendings = []
        for number, user in enumerate(self.users):
            profile = {"username": f"@user_{number}", "displayName": f"User {number}"}
            fields = self._fields("user_creation", user, user, now_ms, contract_input=profile)
            sendings.append(self._sign(user, fields, self._get_home(number)))
        return self._with_retries("users", sendings)

    def make_deposits(self, now_ms: int) -> Phase:
        """The sovereign pays every user its first money."""
        amount = f"{DEPOSIT_UNITS // 100}.{DEPOSIT_UNITS % 100:02}"
        sendings = []
        for user in self.users:
            fields = self._fields("deposit", self._plan.sovereign, user, now_ms, amount=amount, currency_code=CURRENCY)
            # One sender's transactions go to one validator: their nonces must arrive in order.
            sendings.append(self._sign(self._plan.sovereign, fields, self._get_home(0)))
        return self._with_retries("deposits", sendings)

    def make_transfers(self, now_ms: int) -> Phase:
        """Users pay one another small amounts."""
        sendings = []
        for count in range(self._load.transfers):
            number = count % len(self.users)
            recipient = self._random.choice([user for user in self.users if user is not self.users[number]])
            units = self._random.randint(1, MAX_TRANSFER_UNITS)
            fields = self._fields(
                "transfer",
                self.users[number],
                recipient,
                now_ms,
                amount=f"{units // 100}.{units % 100:02}",
                currency_code=CURRENCY,
            )
            sendings.append(self._sign(self.users[number], fields, self._get_home(number)))
        return self._with_retries("transfers", sendings)

    def _get_home(self, number: int) -> str:
        return self._plan.correct_ids[number % len(self._plan.correct_ids)]

    def _fields(self, kind: str, sender: KeyPair, recipient: KeyPair, now_ms: int, **optional: Any) -> Transaction:
        nonce = self._nonces.get(sender.public_text, 0)
        self._nonces[sender.public_text] = nonce + 1
        return Transaction(
            type=kind,
            sender=sender.public_text,
            recipient=recipient.public_text,
            timestamp_ms=now_ms,
            nonce=nonce,
            metadata={"chainId": self._chain_id},
            **optional,
        )

    def _sign(self, signer: KeyPair, transaction: Transaction, target: str) -> Sending:
        text = transaction.to_text().encode("utf-8")
        body = {**transaction.to_json(), "signature": format_signature(signer.sign(text))}
        return Sending(hashlib.sha256(text).hexdigest(), target, body)

    def _with_retries(self, name: str, sendings: list[Sending]) -> Phase:
        total = 2 * self._load.users + self._load.transfers
        count = min(len(sendings), round(self._load.retries * len(sendings) / total))
        chosen = self._random.sample(sendings, count)
        targets = self._plan.correct_ids
        retries = [
            Sending(sending.id, targets[(targets.index(sending.target) + 1) % len(targets)], sending.body)
            for sending in chosen
        ]
        return Phase(name, tuple(sendings), tuple(retries))
