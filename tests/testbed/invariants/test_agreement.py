from __future__ import annotations

from testbed.invariants.agreement import Agreement
from tests.testbed.tracing import Stage


def test_the_same_blocks_are_accepted() -> None:
    stage = Stage(Agreement())
    stage.decide(stage.block(1))
    stage.decide(stage.block(2))
    stage.assert_proven("2 heights on 4 correct nodes")


def test_two_valid_certificates_of_one_block_are_accepted() -> None:
    stage = Stage(Agreement())
    block = stage.block(1)
    stage.commit(0, block, stage.certificate(block, 0, (0, 1, 2)))
    stage.commit(1, block, stage.certificate(block, 2, (1, 2, 3)))
    stage.assert_proven()


def test_a_fork_is_rejected() -> None:
    stage = Stage(Agreement())
    one, other = stage.block(1), stage.block(1, label=1)
    stage.commit(0, one, stage.certificate(one, 0, (0, 2, 3)))
    stage.commit(1, other, stage.certificate(other, 0, (1, 2, 3)))
    stage.assert_violated("validator-2 and validator-1 at height 1", one.hash.hex()[:8], other.hash.hex()[:8])


def test_what_a_traitor_says_it_commits_is_not_judged() -> None:
    stage = Stage(Agreement(), traitors=[1])
    one, other = stage.block(1), stage.block(1, label=1)
    stage.commit(0, one, stage.certificate(one, 0, (0, 2, 3)))
    stage.commit(1, other, stage.certificate(other, 0, (1, 2, 3)))
    stage.assert_proven()


def test_another_block_after_a_restart_is_rejected() -> None:
    stage = Stage(Agreement())
    one, other = stage.block(1), stage.block(1, label=1)
    stage.commit(0, one, stage.certificate(one, 0, (0, 1, 2)))
    stage.end(0)
    stage.begin(0, height=0)
    stage.commit(0, other, stage.certificate(other, 0, (1, 2, 3)))
    stage.assert_violated("validator-1 and validator-1 at height 1")
