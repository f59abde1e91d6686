"""The checker of progress: what it objects to, and in which words."""

from __future__ import annotations

from typing import Any

from testbed.checkers import Progress
from testbed.history import Event
from testbed.verdict import Outcome
from tests.testbed.forging import (
    assert_violated,
    drop,
    forge,
    is_block,
    judge,
    record_truth,
)


def test_not_made() -> None:
    begin = next(event for event in record_truth() if event.kind == "expectation" and event.data["heights"] == 2)
    end = next(
        event
        for event in record_truth()
        if event.kind == "expectation" and event.sequence > begin.sequence and event.data["phase"] == "end"
    )
    events = drop(lambda event: is_block(event, "validator-1") and begin.sequence < event.sequence < end.sequence)
    assert_violated(Progress(), events, "validator-1 at height", "0 new blocks ≠ 2 wanted")


def test_never_finished() -> None:
    truth = record_truth()
    begin = next(event for event in truth if event.kind == "expectation")
    verdict = judge(Progress(), [event for event in truth if event.sequence <= begin.sequence])
    assert verdict.outcome is Outcome.COULD_NOT_TELL


def test_a_node_stopped_itself() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data |= {"state": "stopped", "reason": "a certified block is invalid here"}
        return event.kind == "health" and event.node == "validator-2" and event.data["height"] == 4

    assert_violated(Progress(), forge(change), "validator-2 at height 4: it stopped: a certified block")
