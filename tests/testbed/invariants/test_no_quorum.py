from __future__ import annotations

from tana.types.messages import PRECOMMIT
from testbed.invariants.no_quorum import NoQuorum
from testbed.verdict import Outcome
from tests.testbed.tracing import Stage

SURVIVORS, GONE = (0, 1), (2, 3)


def halted(*, last_precommit: int = 0) -> Stage:
    """Two of four are gone; before, they may have precommitted a height that nobody has committed."""
    stage = Stage(NoQuorum())
    stage.decide(stage.block(1))
    if last_precommit:
        for node in GONE:
            stage.sign(node, stage.vote(node, PRECOMMIT, last_precommit, 0, stage.block(last_precommit)))
    for node in GONE:
        stage.end(node)
    stage.expect("begin", "must_not", SURVIVORS, GONE)
    return stage


def test_a_chain_that_stands_still_is_accepted() -> None:
    stage = halted()
    stage.expect("end", "must_not", SURVIVORS, GONE)
    stage.decide(stage.block(2))
    stage.assert_proven("1 stretches without a quorum")


def test_a_precommit_that_was_on_its_way_is_accepted() -> None:
    stage = halted(last_precommit=2)
    block = stage.block(2)
    stage.commit(0, block, stage.certificate(block, 0, (0, 2, 3)))
    stage.assert_proven()


def test_a_new_height_is_rejected() -> None:
    stage = halted()
    block = stage.block(2)
    stage.commit(0, block, stage.certificate(block, 0, (0, 1)))
    stage.assert_violated("validator-1 committed height 2 without validator-3, validator-4 ≠ height 1")


def test_a_height_above_the_last_precommit_is_rejected() -> None:
    stage = halted(last_precommit=2)
    for height in (2, 3):
        block = stage.block(height)
        stage.commit(0, block, stage.certificate(block, 0, (0, 1)))
        stage.parent = block.hash
    stage.assert_violated("validator-1 committed height 3", "height 2")


def test_what_a_traitor_had_precommitted_is_accepted() -> None:
    stage = Stage(NoQuorum(), traitors=[3])
    stage.decide(stage.block(1), nodes=(0, 1, 2))
    stage.expect("begin", "must_not", (0, 1), (2, 3))
    for height, is_right in ((2, True), (3, False)):
        block = stage.block(height)
        stage.commit(0, block, stage.certificate(block, 0, (0, 1, 3)))
        stage.parent = block.hash
        assert (stage.trace.violation is None) == is_right


def test_with_a_quorum_there_is_nothing_to_judge() -> None:
    stage = Stage(NoQuorum())
    stage.expect("begin", "must", (0, 1, 2, 3))
    stage.decide(stage.block(1))
    assert stage.finish().outcome is Outcome.NOT_ASKED
