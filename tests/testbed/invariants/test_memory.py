from __future__ import annotations

import dataclasses

import pytest

from tana.node.machine import MachineGauges
from testbed.invariants.memory import Memory
from testbed.verdict import Outcome
from tests.testbed.tracing import Stage

CALM = MachineGauges(
    validators=4,
    round=0,
    votes=8,
    proposals=1,
    blocks=1,
    block_bytes=1_000,
    past_messages=100,
    evidence=1,
    early_messages=3,
    peers=3,
    mempool_transactions=10,
    mempool_bytes=3_000,
    mempool_bytes_max=1_000_000,
)


def look(**held: int) -> Stage:
    stage = Stage(Memory())
    stage.trace.gauges("validator-1", 5, dataclasses.replace(CALM, **held))
    return stage


def test_what_a_round_needs_is_accepted() -> None:
    look().assert_proven("within bounds in 1 looks; at most 8 votes")


def test_many_rounds_may_hold_many_votes() -> None:
    look(round=100, votes=800).assert_proven()


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"votes": 73}, "73 votes ≠ at most 72"),
        ({"proposals": 4}, "4 proposals ≠ at most 3"),
        ({"blocks": 17}, "17 blocks ≠ at most 16"),
        ({"past_messages": 1_089}, "1089 past messages ≠ at most 1088"),
        ({"evidence": 65}, "65 evidence ≠ at most 64"),
        ({"early_messages": 49}, "49 early messages ≠ at most 48"),
        ({"mempool_bytes": 1_000_001}, "mempool bytes"),
    ],
)
def test_more_than_the_bound_is_rejected(held: dict[str, int], words: str) -> None:
    look(**held).assert_violated("validator-1 at height 1 round", words)


def test_without_gauges_it_cannot_tell() -> None:
    stage = Stage(Memory())
    stage.decide(stage.block(1))
    assert stage.finish().outcome is Outcome.COULD_NOT_TELL
