"""The checker of convergence: what it objects to, and in which words."""

from __future__ import annotations

from testbed.checkers import Convergence
from testbed.verdict import Outcome
from tests.testbed.forging import (
    OTHER_HASH,
    assert_violated,
    change_block,
    drop,
    forge,
    is_block,
    judge,
    record_truth,
)


def test_another_block_at_the_pinned_height() -> None:
    height = next(event.data["height"] for event in record_truth() if event.kind == "convergence")
    events = forge(change_block("validator-3", height, hash=OTHER_HASH))
    assert_violated(Convergence(), events, f"validator-1 and validator-3 at height {height}: block", "abababab…")


def test_one_validator_did_not_reach_it() -> None:
    height = next(event.data["height"] for event in record_truth() if event.kind == "convergence")
    verdict = judge(Convergence(), drop(lambda event: is_block(event, "validator-2", height)))
    assert verdict.outcome is Outcome.COULD_NOT_TELL
    assert "validator-2" in verdict.line
