from __future__ import annotations

from testbed.invariants.two_phase import TwoPhase
from testbed.verdict import Outcome
from tests.testbed.tracing import Stage

QUORUM = (0, 1, 2)


def test_a_quorum_that_goes_on_without_the_broken_one_is_accepted() -> None:
    stage = Stage(TwoPhase(), is_virtual=True)
    stage.expect("begin", "must", QUORUM, missing=(3,))
    stage.decide(stage.block(1), round=2, nodes=QUORUM)
    stage.expect("end", "must", QUORUM, missing=(3,))
    stage.assert_proven("3 times in 1 stretches", "within 2 rounds")


def test_a_quorum_that_stands_still_is_rejected() -> None:
    stage = Stage(TwoPhase(), is_virtual=True)
    stage.expect("begin", "must", QUORUM, missing=(3,))
    stage.now_ms += 600_001
    stage.expect("end", "must", QUORUM, missing=(3,))
    stage.assert_violated("validator-1 is still at height 0")


def test_rounds_in_which_timeouts_grow_are_allowed_and_no_more() -> None:
    """Four validators have 14 rounds, and here 10 more."""
    stage = Stage(TwoPhase(), is_virtual=True)
    stage.expect("begin", "must", QUORUM, missing=(3,), rounds_growing=10)
    stage.decide(stage.block(1), round=24, nodes=QUORUM)
    stage.expect("end", "must", QUORUM, missing=(3,))
    stage.assert_proven("within 24 rounds")
    late = Stage(TwoPhase(), is_virtual=True)
    late.expect("begin", "must", QUORUM, missing=(3,), rounds_growing=10)
    late.decide(late.block(1), round=25, nodes=QUORUM)
    late.assert_violated("25 more rounds ≠ at most 24")


def test_a_node_that_dies_meanwhile_need_not_go_on() -> None:
    stage = Stage(TwoPhase(), is_virtual=True)
    stage.expect("begin", "must", QUORUM, missing=(3,))
    stage.decide(stage.block(1), nodes=(0, 1))
    stage.end(2)
    stage.now_ms += 600_001
    stage.expect("end", "must", QUORUM, missing=(3,))
    stage.assert_proven("2 times")


def test_a_whole_cluster_is_not_its_matter() -> None:
    stage = Stage(TwoPhase())
    stage.expect("begin", "must", (0, 1, 2, 3))
    stage.decide(stage.block(1))
    assert stage.finish().outcome is Outcome.NOT_ASKED
