from __future__ import annotations

import pytest

from tana.ledger.tree import StateTree
from tana.node.effects import Halt
from testbed.invariants.facts import Begin
from testbed.invariants.state_root import StateRoot, compute_root
from tests.ledger.chain import make_genesis
from tests.testbed.tracing import CHAIN_ID, Stage

NODES = (0, 1, 2, 3)


def test_equal_roots_are_accepted() -> None:
    stage = Stage(StateRoot())
    stage.decide(stage.block(1))
    stage.decide(stage.block(2))
    stage.assert_proven("8 roots compared")


def test_another_root_is_rejected() -> None:
    stage = Stage(StateRoot())
    block = stage.block(1)
    stage.commit(0, block, stage.certificate(block, 0, NODES))
    stage.commit(1, block, stage.certificate(block, 0, NODES), state_root=b"x" * 32)
    stage.assert_violated("validator-2 at height 1 has state root 78787878… ≠ 73737373…, which validator-1 computed")


def test_a_root_that_is_not_the_block_s_is_rejected() -> None:
    stage = Stage(StateRoot())
    block = stage.block(1)
    stage.commit(0, block, stage.certificate(block, 0, NODES), state_root=b"x" * 32)
    stage.assert_violated("validator-1 at height 1", "which the block says")


def test_a_node_that_stops_at_a_certified_block_is_rejected() -> None:
    stage = Stage(StateRoot())
    stage.decide(stage.block(1))
    stage.do(2, Halt("height 2: a certified block is invalid here: wrong state root"))
    stage.assert_violated("validator-3 after height 1 stops: height 2: a certified block is invalid here")


@pytest.mark.parametrize(("root", "is_right"), [(b"s" * 32, True), (b"x" * 32, False)])
def test_the_state_of_a_restarted_node_is_compared(root: bytes, is_right: bool) -> None:
    stage = Stage(StateRoot())
    stage.decide(stage.block(1))
    stage.end(0)
    begin = Begin(stage.key(0), 2, 1, stage.get_set(2), (0, 0, 0), True, CHAIN_ID, state_root=root)
    stage.trace.begin(stage.name(0), stage.now_ms, begin)
    if is_right:
        stage.assert_proven("5 roots compared")
    else:
        stage.assert_violated("validator-1 at height 1 has state root 78787878…")


@pytest.mark.parametrize("count", [0, 1, 32, 33, 500])
def test_the_root_follows_from_the_definition(count: int) -> None:
    rows = {f"row/{index}".encode(): b"%d" % index for index in range(count)}
    assert compute_root(rows) == StateTree(rows.items()).root


def test_the_root_of_the_parent_is_rejected() -> None:
    """All nodes agree on the state before the block: only the rows tell."""
    genesis = make_genesis()
    invariant = StateRoot()
    stage = Stage(invariant)
    invariant.on_begin(
        stage.trace.world.nodes["validator-1"],
        Begin(stage.key(0), 1, 0, stage.get_set(1), (0, 0, 0), True, CHAIN_ID, genesis=genesis),
    )
    rows = dict(invariant._rows or {})
    before = StateTree(rows.items())
    changes = ((b"supply/USD", b"\x01"),)
    after = before.updated(dict(changes))
    for root, is_right in ((after.root, True), (before.root, False)):
        invariant._rows, invariant.violation = dict(rows), None
        stage.trace.world.commits.clear()
        block = stage.block(1, state_root=root)
        stage.begin(0, height=0)
        stage.commit(0, block, stage.certificate(block, 0, NODES), state_root=root, changes=changes)
        assert (invariant.violation is None) == is_right
    stage.assert_violated("which all its rows together have")
