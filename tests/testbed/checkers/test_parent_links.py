"""The checker of parent links: what it objects to, and in which words."""

from __future__ import annotations

from typing import Any

from testbed.checkers import ParentLinks
from testbed.history import Event
from tests.testbed.forging import (
    OTHER_HASH,
    assert_violated,
    change_block,
    forge,
)


def test_wrong_parent() -> None:
    events = forge(change_block("validator-1", 4, parent=OTHER_HASH))
    assert_violated(ParentLinks(), events, "validator-1 at height 4")


def test_first_block_of_another_chain() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data["chain_id"] = OTHER_HASH
        return event.kind == "genesis"

    assert_violated(ParentLinks(), forge(change), "at height 1: parent", "abababab…")


def test_header_does_not_give_the_hash() -> None:
    events = forge(change_block("validator-1", 4, time_ms=1))
    assert_violated(ParentLinks(), events, "validator-1 at height 4: hash", "header and transactions")


def test_height_regresses() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data["height"] = 3
        return event.kind == "health" and event.node == "validator-2" and event.data["height"] == 8

    assert_violated(ParentLinks(), forge(change), "validator-2 at height 3", "height 7 before")
