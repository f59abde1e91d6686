"""The checker of no progress without a quorum: what it objects to, and in which words."""

from __future__ import annotations

from testbed.checkers import NoProgress
from testbed.verdict import Outcome
from tests.testbed.forging import (
    assert_violated,
    drop,
    insert_after,
    is_block,
    judge,
    record_truth,
)


def test_commits_without_quorum() -> None:
    truth = record_truth()
    last = next(event for event in truth if event.kind == "expectation" and event.data["progress"] == "must_not")
    height = max(event.data["height"] for event in truth if event.kind == "block" and event.sequence < last.sequence)
    block = next(event for event in truth if is_block(event, "validator-1", height))
    certificate = {**block.data["certificate"], "signatures": block.data["certificate"]["signatures"][:2]}
    data = {**block.data, "height": height + 1, "certificate": certificate}
    events = insert_after(lambda event: event is last, "block", "validator-1", **data)
    words = (f"validator-1 at height {height + 1}", "power 2 of 3", "validator-3 was gone", "needs 3")
    assert_violated(NoProgress(), events, *words)


def test_commits_after_it_was_shown_to_be_stuck() -> None:
    truth = record_truth()
    end = next(
        event
        for event in truth
        if event.kind == "expectation" and event.data["progress"] == "must_not" and event.data["phase"] == "end"
    )
    before = [event for event in truth if event.sequence < end.sequence]
    stuck = [event for event in before if event.kind == "health" and event.node == "validator-2"][-1]
    data = {**stuck.data, "height": stuck.data["height"] + 1}
    events = insert_after(lambda event: event is before[-1], "health", "validator-2", **data)
    assert_violated(NoProgress(), events, "validator-2 at height", "without validator-3", "no quorum is there")


def test_never_shown() -> None:
    events = drop(lambda event: event.kind == "health" and event.node == "validator-1")
    verdict = judge(NoProgress(), events)
    assert verdict.outcome is Outcome.COULD_NOT_TELL
    assert "did not say" in verdict.line
