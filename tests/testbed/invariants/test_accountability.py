from __future__ import annotations

from tana.types.block import Block
from tana.types.messages import PRECOMMIT, PREVOTE
from testbed.invariants.accountability import Accountability
from testbed.verdict import Outcome
from tests.testbed.tracing import Stage


def test_without_an_accusation_there_is_nothing_to_judge() -> None:
    stage = Stage(Accountability())
    stage.decide(stage.block(1))
    assert stage.finish().outcome is Outcome.NOT_ASKED


def fork(stage: Stage, first: tuple[int, ...], second: tuple[int, ...], second_round: int = 0) -> tuple[Block, Block]:
    """Validator 0 commits one block with the precommits of `first`, validator 1 another with those of `second`."""
    one, other = stage.block(1), stage.block(1, label=1)
    stage.commit(0, one, stage.certificate(one, 0, first))
    stage.commit(1, other, stage.certificate(other, second_round, second))
    return one, other


def test_a_fork_in_one_round_names_the_traitors() -> None:
    stage = Stage(Accountability(), traitors=[2, 3])
    fork(stage, (0, 2, 3), (1, 2, 3))
    stage.assert_proven("1 forks name validator-3, validator-4")


def test_a_fork_that_names_a_correct_node_is_rejected() -> None:
    stage = Stage(Accountability(), traitors=[3])
    fork(stage, (0, 2, 3), (1, 2, 3))
    stage.assert_violated("the fork at height 1 names validator-3 for double precommits in round 0 ≠ correct")


def test_a_fork_that_names_too_few_is_rejected() -> None:
    stage = Stage(Accountability(), traitors=[2, 3])
    fork(stage, (0, 1, 3), (2, 3))
    stage.assert_violated("names validator-4", "power 1 ≠ at least 2")


def test_a_fork_across_rounds_names_the_amnesiacs() -> None:
    stage = Stage(Accountability(), traitors=[2, 3])
    other = stage.block(1, label=1)
    for traitor in (2, 3):
        stage.see(1, stage.vote(traitor, PREVOTE, 1, 1, other))
    stage.sign(1, stage.vote(1, PREVOTE, 1, 1, other))
    fork(stage, (0, 2, 3), (1, 2, 3), second_round=1)
    stage.assert_proven("name validator-3, validator-4")


def test_a_fork_across_rounds_that_names_a_correct_node_is_rejected() -> None:
    stage = Stage(Accountability(), traitors=[3])
    other = stage.block(1, label=1)
    stage.sign(2, stage.vote(2, PRECOMMIT, 1, 0, stage.block(1)))
    for node in (1, 2):
        stage.sign(node, stage.vote(node, PREVOTE, 1, 1, other))
    stage.see(1, stage.vote(3, PREVOTE, 1, 1, other))
    fork(stage, (0, 2, 3), (1, 2, 3), second_round=1)
    stage.assert_violated("names validator-3 for amnesia between rounds 0 and 1 ≠ correct")
