"""The checker of agreement: what it objects to, and in which words."""

from __future__ import annotations

from testbed.checkers import Agreement
from tests.testbed.forging import (
    OTHER_HASH,
    assert_violated,
    change_block,
    forge,
)


def test_two_blocks_at_one_height() -> None:
    events = forge(change_block("validator-3", 5, hash=OTHER_HASH))
    assert_violated(Agreement(), events, "validator-3", "at height 5", "≠", "abababab…")
