"""Money: balances and supply are what the chain's transactions add up to; nothing is lost, made or negative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tana.crypto.keys import format_public_key
from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, NodeFacts
from testbed.invariants.model import LedgerModel
from testbed.needs import CHAIN, STEPS

ACCOUNT_ROW, SUPPLY_ROW = b"account/", b"supply/"
Row = tuple[str, int, dict[str, int]]
"""Role, next nonce, and balances in smallest units by currency code."""

NO_ACCOUNT: Row = ("", 0, {})
_account_decoder = msgspec.msgpack.Decoder(Row)
_units_decoder = msgspec.msgpack.Decoder(int)


class Money(Invariant):
    number = 11
    name = "money"
    needs = frozenset({STEPS, CHAIN})

    def __init__(self) -> None:
        super().__init__()
        self._accounts: dict[str, Row] = {}
        """The rows of accounts, as nodes changed them."""
        self._sums: dict[str, int] = {}
        """What those rows sum to, by currency."""
        self._supply: dict[str, int] = {}
        self._compared = 0

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        model = self.world.model
        if model is not None and not self._accounts and not self.world.commits:
            self._accounts = {
                name: (account.role, account.nonce, dict(account.balances)) for name, account in model.accounts.items()
            }
            self._sums, self._supply = dict(model.supply), dict(model.supply)

    def on_final(self, node: NodeFacts, decision: Decision) -> None:
        model = self.world.model
        if model is None:
            return
        self.world.replay(decision)
        concerned = set(model.touched)
        for key, value in decision.execution.changes:
            if key.startswith(ACCOUNT_ROW):
                account = format_public_key(key[len(ACCOUNT_ROW) :])
                concerned.add(account)
                self._set_account(account, value)
            elif key.startswith(SUPPLY_ROW):
                self._supply[key[len(SUPPLY_ROW) :].decode("ascii")] = _units_decoder.decode(value or b"\0")
        for account in sorted(concerned):
            self._compare_account(node, decision, account, model)
        self._compare(node, decision, "supply", self._supply, model.supply)
        self._compare(node, decision, "sum of all balances", self._sums, model.supply)

    def _set_account(self, account: str, row: bytes | None) -> None:
        for code, units in self._accounts.get(account, NO_ACCOUNT)[2].items():
            self._sums[code] -= units
        self._accounts[account] = NO_ACCOUNT if row is None else _account_decoder.decode(row)
        for code, units in self._accounts[account][2].items():
            self._sums[code] = self._sums.get(code, 0) + units

    def _compare_account(self, node: NodeFacts, decision: Decision, account: str, model: LedgerModel) -> None:
        known = model.accounts.get(account)
        expected = NO_ACCOUNT if known is None else (known.role, known.nonce, known.balances)
        held = self._accounts.get(account, NO_ACCOUNT)
        self._compare(node, decision, f"account {account[8:16]}…", held, expected, describe=_describe)
        negative = min(held[2].values(), default=0)
        if negative < 0:
            self._compare(node, decision, f"a balance of account {account[8:16]}…", negative, "at least 0")

    def _compare(
        self,
        node: NodeFacts,
        decision: Decision,
        what: str,
        answered: Any,
        expected: Any,
        *,
        describe: Callable[[Any], str] = str,
    ) -> None:
        self._compared += 1
        if answered != expected:
            self.violate(
                f"{node.name} at height {decision.height}: {what} is {describe(answered)} ≠ {describe(expected)},"
                " which the transactions add up to",
                node.name,
                height=decision.height,
            )

    def find_missing(self) -> str:
        return "" if self._compared else "no account was changed"

    def summarize(self) -> str:
        return f"{self._compared} balances and supplies as the transactions add up to"


def _describe(row: Row) -> str:
    role, nonce, balances = row
    if row == NO_ACCOUNT:
        return "not there"
    money = ", ".join(f"{units} {code}" for code, units in sorted(balances.items())) or "no money"
    return f"{role or 'no role'} with nonce {nonce} and {money} (smallest units)"
