"""The checker of state root: what it objects to, and in which words."""

from __future__ import annotations

from testbed.checkers import StateRoot
from testbed.verdict import Outcome
from tests.testbed.forging import (
    OTHER_HASH,
    assert_violated,
    change_block,
    forge,
    insert_after,
    is_block,
    judge,
)


def test_differs_in_blocks() -> None:
    events = forge(change_block("validator-2", 7, state_root=OTHER_HASH))
    assert_violated(StateRoot(), events, "validator-2", "at height 7", "abababab…")


def test_differs_before_any_block() -> None:
    ours, theirs = "ab" * 32, "cd" * 32
    fields = {
        "height": 2,
        "round": 0,
        "proposer": "00" * 32,
        "block": OTHER_HASH,
        "reason": f"state root ours {ours}, block's {theirs}",
    }
    events = insert_after(
        lambda event: is_block(event, "validator-1", 1), "log", "validator-2", name="prevote_nil", **fields
    )
    verdict = judge(StateRoot(), events)
    assert verdict.outcome is Outcome.VIOLATED
    assert verdict.line.startswith("validator-2 and somebody unknown")
    assert "at height 2: abababab… ≠ cdcdcdcd…" in verdict.line
