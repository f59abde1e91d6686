from __future__ import annotations

from testbed.invariants.parent_links import ParentLinks
from tests.testbed.tracing import Stage

NODES = (0, 1, 2, 3)


def test_a_chain_with_a_restart_is_accepted() -> None:
    stage = Stage(ParentLinks())
    stage.decide(stage.block(1))
    stage.end(3)
    stage.decide(stage.block(2), nodes=(0, 1, 2))
    stage.begin(3)
    stage.assert_proven("7 commits", "1 restarts")


def test_another_parent_is_rejected() -> None:
    stage = Stage(ParentLinks())
    stage.decide(stage.block(1))
    block = stage.block(2, parent=b"x" * 32)
    stage.commit(0, block, stage.certificate(block, 0, NODES))
    stage.assert_violated("validator-1 at height 2: parent 78787878…")


def test_a_height_left_out_is_rejected() -> None:
    stage = Stage(ParentLinks())
    stage.decide(stage.block(1))
    block = stage.block(3)
    stage.commit(0, block, stage.certificate(block, 0, NODES))
    stage.assert_violated("validator-1 commits height 3 ≠ height 2")


def test_a_restart_that_goes_back_is_rejected() -> None:
    stage = Stage(ParentLinks())
    stage.decide(stage.block(1))
    stage.decide(stage.block(2))
    stage.end(0)
    stage.begin(0, height=1)
    stage.assert_violated("validator-1 begins again at height 1 ≠ height 2")


def test_a_wiped_node_may_begin_at_the_genesis() -> None:
    stage = Stage(ParentLinks())
    stage.decide(stage.block(1))
    stage.end(0)
    stage.trace.wipe(stage.name(0), stage.now_ms)
    stage.begin(0, height=0)
    stage.assert_proven()


def test_a_time_that_stands_still_is_rejected() -> None:
    stage = Stage(ParentLinks())
    stage.decide(stage.block(1))
    block = stage.block(2, time_ms=1000)
    stage.commit(0, block, stage.certificate(block, 0, NODES))
    stage.assert_violated("time 1000 ≤ 1000")
