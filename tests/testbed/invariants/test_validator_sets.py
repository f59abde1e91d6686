from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tana.node.effects import Append, Flush, Signed
from tana.node.inputs import Started
from tana.types.messages import PREVOTE, Vote
from testbed.invariants.validator_sets import VALIDATORS_ROW, ValidatorSets
from testbed.trace import Begin
from tests.testbed.tracing import CHAIN_ID, Stage, make_validators

NODES = (0, 1, 2, 3)


def test_the_sets_of_the_chain_are_accepted() -> None:
    stage = Stage(ValidatorSets(), powers=(1, 2, 3, 4))
    for height in range(1, 8):
        stage.decide(stage.block(height))
    stage.end(0)
    stage.begin(0)
    stage.assert_proven("33 sets compared, 0 changes")


@pytest.mark.parametrize("field", ["validators_hash", "next_validators_hash"])
def test_another_set_in_a_header_is_rejected(field: str) -> None:
    stage = Stage(ValidatorSets())
    header: dict[str, Any] = {field: make_validators((1, 1, 1, 2)).hash}
    block = stage.block(1, **header)
    stage.commit(0, block, stage.certificate(block, 0, NODES))
    stage.assert_violated("validator-1 for height", "commits a block that says set")


@pytest.mark.parametrize("change", ["priority", "power"])
def test_another_row_in_the_state_is_rejected(change: str) -> None:
    stage = Stage(ValidatorSets())
    rows: list[list[Any]] = [list(row) for row in stage.get_set(2).to_rows()]
    rows[0][3 if change == "priority" else 1] += 1
    block = stage.block(1)
    changes = ((VALIDATORS_ROW, msgspec.msgpack.encode(rows)),)
    stage.commit(0, block, stage.certificate(block, 0, NODES), changes=changes)
    stage.assert_violated("validator-1 for height 2 computes")


def test_a_key_that_is_not_in_the_set_signs_nothing() -> None:
    stage = Stage(ValidatorSets())
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, stage.block(1)))
    begin = Begin(b"n" * 32, 1, 0, stage.get_set(1), (0, 0, 0), True, CHAIN_ID)
    stage.trace.begin("validator-5", stage.now_ms, begin)
    vote = Vote(PREVOTE, 1, 0, None, b"n" * 32, b"s" * 64)
    stage.trace.step("validator-5", stage.now_ms, Started(), [Append(Signed(vote)), Flush()])
    stage.assert_violated("validator-5 at height 1 signs in round 0 ≠ the set that decides it")


def test_a_node_that_begins_with_another_set_is_rejected() -> None:
    stage = Stage(ValidatorSets())
    stage.decide(stage.block(1))
    stage.end(0)
    validators = stage.get_set(2).advanced()
    begin = Begin(stage.key(0), 2, 1, validators, (0, 0, 0), True, CHAIN_ID)
    stage.trace.begin("validator-1", stage.now_ms, begin)
    stage.assert_violated("validator-1 for height 2 begins with")
