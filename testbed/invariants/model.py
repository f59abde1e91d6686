"""A small ledger of its own: what the chain's transactions do to accounts, worked out again from their texts.

It knows the rules as a client reads them in the documents, and nothing of the code that executes blocks.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tana.types.genesis import Genesis
from tana.types.transaction import Transaction

SOVEREIGN_ONLY = frozenset({"deposit", "withdraw", "role_change", "validator_change"})


class Account:
    """Role, next nonce, and balances in smallest units by currency code, without zeros."""

    __slots__ = ("balances", "nonce", "role")

    def __init__(self, role: str, nonce: int = 0) -> None:
        self.role = role
        self.nonce = nonce
        self.balances: dict[str, int] = {}

    def move(self, code: str, units: int) -> None:
        balance = self.balances.pop(code, 0) + units
        if balance:
            self.balances[code] = balance


class LedgerModel:
    """Accounts by printed public key, and the supply by currency code."""

    def __init__(self, genesis: Genesis) -> None:
        self.accounts: dict[str, Account] = {genesis.sovereign: Account("sovereign")}
        self.supply: dict[str, int] = {}
        self.touched: set[str] = set()
        """Accounts that the block applied last may have changed."""
        self._usernames: set[str] = set()
        self._decimals = {item.code: item.decimals for item in genesis.currencies}
        self._chain_id = genesis.compute_chain_id().hex()
        self._is_chain_id_required = genesis.parameters.requireChainId
        for code in self._decimals:
            self.supply[code] = 0
        for item in genesis.accounts:
            account = self.accounts[item.publicKey] = Account(item.role)
            self._usernames.add(item.username)
            for code, amount in item.balances.items():
                units = self._count_units(code, amount)
                account.move(code, units)
                self.supply[code] += units

    def apply(self, transaction: Transaction, parent_height: int) -> str:
        """Do what a transaction says. Returns why it is not valid here, and empty where it is; it is done anyway."""
        reason = self._find_fault(transaction, parent_height)
        sender = self.accounts.get(transaction.sender)
        self.touched |= {transaction.sender, transaction.recipient}
        if sender is not None:
            sender.nonce += 1
        kind = transaction.type
        if kind == "user_creation":
            is_own = transaction.sender == transaction.recipient
            self.accounts[transaction.recipient] = Account("user", 1 if is_own else 0)
            self._usernames.add(self._get_input(transaction, "username"))
        elif kind == "role_change" and transaction.recipient in self.accounts:
            self.accounts[transaction.recipient].role = self._get_input(transaction, "role")
        elif kind in ("deposit", "withdraw", "transfer"):
            self._move_money(transaction)
        return reason

    def _move_money(self, transaction: Transaction) -> None:
        code = transaction.currency_code or ""
        units = self._count_units(code, transaction.amount or "")
        sender, recipient = self.accounts.get(transaction.sender), self.accounts.get(transaction.recipient)
        if transaction.type == "transfer":
            if sender is not None:
                sender.move(code, -units)
        else:
            units = -units if transaction.type == "withdraw" else units
            self.supply[code] = self.supply.get(code, 0) + units
        if recipient is not None:
            recipient.move(code, units)

    def _find_fault(self, transaction: Transaction, parent_height: int) -> str:
        sender = self.accounts.get(transaction.sender)
        creates_itself = transaction.type == "user_creation" and transaction.sender == transaction.recipient
        if sender is None and not creates_itself:
            return "its sender has no account"
        nonce = 0 if sender is None else sender.nonce
        if transaction.nonce != nonce:
            return f"its nonce is {transaction.nonce} and its sender's next is {nonce}"
        metadata = transaction.metadata or {}
        chain_id = metadata.get("chainId")
        if chain_id != self._chain_id and (chain_id is not None or self._is_chain_id_required):
            return "it is for another chain"
        expires = metadata.get("expiresAtHeight")
        if expires is not None and parent_height >= expires:
            return f"it expired at height {expires}"
        if transaction.type in SOVEREIGN_ONLY and (sender is None or sender.role != "sovereign"):
            return "only a sovereign may do that"
        return self._find_fault_of_kind(transaction, sender)

    def _find_fault_of_kind(self, transaction: Transaction, sender: Account | None) -> str:
        kind = transaction.type
        if kind == "user_creation":
            if transaction.recipient in self.accounts:
                return "the account exists already"
            if self._get_input(transaction, "username") in self._usernames:
                return "the username is taken"
            return ""
        if kind == "validator_change":
            return ""
        if transaction.recipient not in self.accounts:
            return "its recipient has no account"
        if kind == "role_change":
            return ""
        code = transaction.currency_code or ""
        if code not in self._decimals:
            return f"there is no currency {code!r}"
        units = self._count_units(code, transaction.amount or "")
        if units <= 0:
            return "its amount is not more than zero"
        payer = sender if kind == "transfer" else self.accounts[transaction.recipient]
        if kind != "deposit" and payer is not None and payer.balances.get(code, 0) < units:
            return f"{payer.balances.get(code, 0)} {code} are there and {units} are moved, in smallest units"
        return ""

    def _count_units(self, code: str, amount: str) -> int:
        try:
            return int(Decimal(amount).scaleb(self._decimals.get(code, 0)))
        except ArithmeticError:
            return 0

    @staticmethod
    def _get_input(transaction: Transaction, name: str) -> Any:
        fields = transaction.contract_input
        return fields.get(name, "") if isinstance(fields, dict) else ""
