"""The checker of faults: what it objects to, and in which words."""

from __future__ import annotations

from typing import Any

from testbed.checkers import Faults
from testbed.history import Event
from testbed.verdict import Outcome
from tests.testbed.forging import (
    assert_violated,
    drop,
    forge,
    judge,
)


def test_not_applied() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data |= {"phase": "not_applied", "evidence": "it still answers"}
        return event.kind == "fault" and event.data["phase"] == "applied"

    assert_violated(Faults(), forge(change), "heartbeat_stopped on validator-2 was not applied: it still answers")


def test_touched_nothing() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data["touched"] = False
        return event.kind == "fault" and event.data["phase"] == "undone" and event.data["fault"] == "kill"

    verdict = judge(Faults(), forge(change))
    assert verdict.outcome is Outcome.COULD_NOT_TELL
    assert "kill on validator-3 never touched anything" in verdict.line


def test_never_undone() -> None:
    events = drop(lambda event: event.kind == "fault" and event.data["phase"] == "undone")
    assert judge(Faults(), events).outcome is Outcome.COULD_NOT_TELL
