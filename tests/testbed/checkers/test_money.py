"""The checker of money: what it objects to, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.checkers import Money
from testbed.history import Event
from tests.testbed.forging import (
    assert_violated,
    forge,
)


def test_supply_differs() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data["supply"] = {"USD": "7"}
        return event.kind == "supply" and event.node == "validator-2"

    assert_violated(Money(), forge(change), "validator-2 at height", "supply 7 USD ≠")


def change_account(**fields: Any) -> Callable[[Event, dict[str, Any]], bool]:
    def change(event: Event, data: dict[str, Any]) -> bool:
        if event.kind != "balances" or event.node != "validator-3":
            return False
        account = sorted(data["accounts"])[3]
        data["accounts"][account] |= fields
        return True

    return change


def test_executed_twice_on_one_validator() -> None:
    events = forge(change_account(balances={"USD": "0.01"}))
    assert_violated(Money(), events, "validator-3 at height", "has 0.01 USD ≠", "transactions add up to")


def test_nonce_differs() -> None:
    assert_violated(Money(), forge(change_account(nonce=9_999)), "validator-3 at height", "next nonce 9999")
