"""The checker of exactly once: what it objects to, and in which words."""

from __future__ import annotations

from typing import Any

from testbed.checkers import ExactlyOnce
from testbed.history import Event
from tests.testbed.forging import (
    assert_violated,
    drop,
    forge,
    is_block,
    is_busy_block,
    record_truth,
)


def repeat_transaction(event: Event, data: dict[str, Any]) -> bool:
    if not is_busy_block(event, "validator-1"):
        return False
    data["transactions"].append(data["transactions"][0])
    return True


def test_twice_in_one_chain() -> None:
    assert_violated(ExactlyOnce(), forge(repeat_transaction), "validator-1 at height", "is also at height")


def test_lost_on_one_validator() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        if not is_busy_block(event, "validator-2"):
            return False
        data["transactions"].pop()
        return True

    assert_violated(ExactlyOnce(), forge(change), "and validator-2: transaction", "acknowledged", "in no block")


def test_lost_over_a_restart() -> None:
    truth = record_truth()
    first = next(event for event in truth if is_busy_block(event, "validator-3"))
    seen = [event for event in truth if is_block(event, "validator-3", first.data["height"])]
    assert len(seen) == 2, "a restarted validator is read again from its first block"
    emptied = Event(seen[1].sequence, seen[1].at_ms, "block", "validator-3", {**seen[1].data, "transactions": []})
    events = [emptied if event is seen[1] else event for event in truth]
    assert_violated(ExactlyOnce(), events, "validator-3: transaction", "in no block up to")


def test_nobody_submitted_it() -> None:
    first = next(event for event in record_truth() if event.kind == "submitted")
    events = drop(lambda event: event.kind == "submitted" and event.data["id"] == first.data["id"])
    assert_violated(ExactlyOnce(), events, "never submitted")


def test_not_signed_by_its_sender() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        if not is_busy_block(event, "validator-1"):
            return False
        data["transactions"][0]["signature"] = "ed25519_sig_" + "00" * 64
        return True

    assert_violated(ExactlyOnce(), forge(change), "validator-1 at height", "not signed by its sender")


def test_acknowledged_at_another_height() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data["height"] = 1
        return event.kind == "acknowledged" and event.data["height"] is not None

    assert_violated(ExactlyOnce(), forge(change), "acknowledged at height 1 by", "≠ at height")
