"""Money: what validators answer as balances and supply is what the blocks' transactions add up to, to the last unit.

A small model of its own follows the blocks: deposits and withdrawals change the supply, transfers only move it.
"""

from __future__ import annotations

from typing import Any

from tana.types.errors import InvalidInput
from tana.types.genesis import Genesis, parse_signed_genesis
from tana.types.money import format_amount, parse_amount
from testbed.checkers.base import Checker, shorten
from testbed.history import Event

Balances = dict[tuple[str, str], int]


class Money(Checker):
    name = "money"
    steps = frozenset({"load"})

    def __init__(self) -> None:
        super().__init__()
        self._genesis: Genesis | None = None
        self._height = 0
        self._busy_height = 0
        """The last height whose block had transactions."""
        self._balances: Balances = {}
        self._nonces: dict[str, int] = {}
        self._supplies: dict[int, dict[str, int]] = {}
        self._supply: dict[str, int] = {}
        self._early: list[Event] = []
        self._compared = {"supply": 0, "balances": 0}

    def on_genesis(self, event: Event) -> None:
        try:
            self._genesis = parse_signed_genesis(event.data["body"]).genesis
        except InvalidInput:
            return  # The certificate checker reports that.
        self._supply = {currency.code: 0 for currency in self._genesis.currencies}
        for account in self._genesis.accounts:
            self._nonces[account.publicKey] = 0
            for code, amount in account.balances.items():
                self._move(account.publicKey, code, parse_amount(amount, self._genesis.get_decimals(code) or 0))
                self._supply[code] += parse_amount(amount, self._genesis.get_decimals(code) or 0)
        self._supplies[0] = dict(self._supply)

    def on_block(self, event: Event) -> None:
        if self._genesis is None or event.data["height"] != self._height + 1:
            return
        self._height += 1
        for body in event.data["transactions"]:
            self._busy_height = self._height
            self._apply(body, self._genesis)
        self._supplies[self._height] = dict(self._supply)
        early, self._early = self._early, []
        for waiting in early:
            self.feed(waiting)

    def _apply(self, body: dict[str, Any], genesis: Genesis) -> None:
        sender, recipient, kind = body["from"], body["to"], body["type"]
        self._nonces[sender] = self._nonces.get(sender, 0) + 1
        self._nonces.setdefault(recipient, 0)
        code = body.get("currencyCode")
        if kind not in ("deposit", "withdraw", "transfer") or not code:
            return
        units = parse_amount(body["amount"], genesis.get_decimals(code) or 0)
        if kind == "deposit":
            self._move(recipient, code, units)
            self._supply[code] += units
        elif kind == "withdraw":
            self._move(recipient, code, -units)
            self._supply[code] -= units
        else:
            self._move(sender, code, -units)
            self._move(recipient, code, units)

    def _move(self, account: str, code: str, units: int) -> None:
        self._balances[account, code] = self._balances.get((account, code), 0) + units

    def on_supply(self, event: Event) -> None:
        height = event.data["height"]
        if height > self._height:
            self._early.append(event)
            return
        expected = self._supplies.get(height)
        if expected is None:
            return
        self._compared["supply"] += 1
        for code, units in expected.items():
            answered = int(event.data["supply"].get(code, 0))
            if answered != units:
                self.violate(
                    f"{event.node} at height {height}: supply {answered} {code} ≠ {units}, which its blocks add up to"
                    " (in smallest units)"
                )

    def on_balances(self, event: Event) -> None:
        if event.data["to_height"] > self._height:
            self._early.append(event)
            return
        if self._genesis is None or self._busy_height > event.data["from_height"]:
            return  # Asked while money moved: the answers are of several heights.
        where = f"{event.node} at height {event.data['to_height']}"
        totals: dict[str, int] = {}
        for account, answer in event.data["accounts"].items():
            self._compare_account(where, account, answer, totals)
        if set(event.data["accounts"]) >= set(self._nonces):
            for code, total in totals.items():
                if total != self._supply[code]:
                    self.violate(f"{where}: balances sum to {total} {code} ≠ supply {self._supply[code]}")
        self._compared["balances"] += 1

    def _compare_account(self, where: str, account: str, answer: dict[str, Any], totals: dict[str, int]) -> None:
        assert self._genesis is not None
        for currency in self._genesis.currencies:
            units = self._balances.get((account, currency.code), 0)
            expected = format_amount(units, currency.decimals)
            answered = answer["balances"].get(currency.code, format_amount(0, currency.decimals))
            if answered != expected:
                self.violate(
                    f"{where}: account {shorten(account[8:])} has {answered} {currency.code} ≠ {expected}, which the"
                    " blocks' transactions add up to"
                )
                return
            totals[currency.code] = totals.get(currency.code, 0) + parse_amount(answered, currency.decimals)
        if answer["nonce"] != self._nonces.get(account, 0):
            self.violate(
                f"{where}: account {shorten(account[8:])} has next nonce {answer['nonce']} ≠"
                f" {self._nonces.get(account, 0)} transactions of it in blocks"
            )

    def find_missing(self) -> str:
        if self._genesis is None:
            return "the mesh served no genesis"
        missing = [what for what, count in self._compared.items() if not count]
        return (
            f"no validator answered its {' and '.join(missing)} at a height whose blocks were read" if missing else ""
        )

    def summarize(self) -> str:
        assert self._genesis is not None
        supply = {
            currency.code: format_amount(self._supply[currency.code], currency.decimals)
            for currency in self._genesis.currencies
        }
        self.facts = {"supply": supply, "accounts": len(self._nonces), "compared": dict(self._compared)}
        words = ", ".join(f"{amount} {code}" for code, amount in supply.items())
        return f"conserved: {words} in {len(self._nonces)} accounts, compared {sum(self._compared.values())} times"
