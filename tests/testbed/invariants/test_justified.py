from __future__ import annotations

from tana.node.effects import Append, Flush, Seen, Signed
from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart
from testbed.invariants.justified import Justified
from tests.testbed.tracing import Stage

NODES = (0, 1, 2, 3)


def test_true_heights_are_accepted() -> None:
    stage = Stage(Justified(), powers=(1, 2, 3, 4))
    for height in range(1, 12):
        stage.decide(stage.block(height))
    stage.assert_proven("44 precommits after a polka")


def test_a_later_round_by_its_own_proposer_is_accepted() -> None:
    stage = Stage(Justified(), powers=(1, 2, 3, 4))
    for round in range(6):
        stage.poll(PREVOTE, 1, round, None, NODES)
        stage.poll(PRECOMMIT, 1, round, None, NODES)
    stage.decide(stage.block(1), round=6)
    stage.assert_proven()


def test_a_precommit_without_a_polka_is_rejected() -> None:
    stage = Stage(Justified())
    block = stage.block(1)
    stage.propose(block, 0, NODES)
    stage.poll(PREVOTE, 1, 0, block, (0, 1))
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 0, block))
    stage.assert_violated("validator-1 at height 1 round 0 precommits", "power 2 that it had seen, of 3 needed")


def test_a_polka_of_another_round_is_no_reason() -> None:
    stage = Stage(Justified())
    block = stage.block(1)
    stage.propose(block, 0, NODES)
    stage.poll(PREVOTE, 1, 0, block, NODES)
    end_round(stage, 0)
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 1, block))
    stage.assert_violated("power 0 that it had seen")


def test_a_polka_of_votes_that_nobody_made_is_no_reason() -> None:
    stage = Stage(Justified())
    block = stage.block(1)
    stage.propose(block, 0, NODES)
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, block))
    for node in (1, 2, 3):
        stage.see(0, stage.vote(node, PREVOTE, 1, 0, block))
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 0, block))
    stage.assert_violated("power 1 that it had seen")


def test_a_proposal_out_of_turn_is_rejected() -> None:
    stage = Stage(Justified())
    proposer = stage.get_proposer(1, 0)
    other = (proposer + 1) % 4
    stage.sign(other, stage.proposal(other, 1, 0, stage.block(1)))
    stage.assert_violated(f"{stage.name(other)} at height 1 round 0 proposes ≠ {stage.name(proposer)}, whose turn")


def test_accepting_a_proposal_out_of_turn_is_rejected() -> None:
    stage = Stage(Justified(), traitors=[3])
    assert stage.get_proposer(1, 0) != 3
    stage.see(0, stage.proposal(3, 1, 0, stage.block(1)))
    stage.assert_violated("validator-1 at height 1 round 0 accepts validator-4's proposal")


def test_a_prevote_for_what_nobody_proposed_is_rejected() -> None:
    stage = Stage(Justified())
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, stage.block(1)))
    stage.assert_violated("validator-1 at height 1 round 0 prevotes", "nobody proposed")


def end_round(stage: Stage, node: int, count: int = 3) -> None:
    """Let a node see so many precommits of round 0, for nothing."""
    for voter in [number for number in range(4) if number != node][:count]:
        stage.see(node, stage.vote(voter, PRECOMMIT, 1, 0, None))


def test_a_round_that_follows_on_nothing_is_rejected() -> None:
    stage = Stage(Justified())
    end_round(stage, 0, count=2)
    stage.sign(0, stage.vote(0, PREVOTE, 1, 1, None))
    stage.assert_violated("validator-1 at height 1 round 1 is in that round ≠ precommits of power 2 in round 0, of 3")


def test_a_round_after_a_quorum_of_precommits() -> None:
    stage = Stage(Justified())
    end_round(stage, 0)
    stage.sign(0, stage.vote(0, PREVOTE, 1, 1, None))
    assert stage.trace.violation is None


def test_a_round_in_which_a_third_is_already() -> None:
    stage = Stage(Justified())
    stage.see(0, stage.vote(1, PREVOTE, 1, 3, None))
    stage.see(0, stage.vote(2, PREVOTE, 1, 2, None))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 2, None))
    assert stage.trace.violation is None


def test_staying_where_a_third_has_left_is_rejected() -> None:
    stage = Stage(Justified())
    stage.see(0, stage.vote(1, PREVOTE, 1, 3, None))
    stage.see(0, stage.vote(2, PREVOTE, 1, 2, None))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 1, None))
    stage.assert_violated("validator-1 at height 1 round 1 is still in that round ≠ round 2, where it saw power 2")


def test_staying_behind_one_that_is_ahead() -> None:
    stage = Stage(Justified())
    stage.see(0, stage.vote(1, PREVOTE, 1, 3, None))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, None))
    assert stage.trace.violation is None


def test_what_was_seen_before_a_restart_may_be_forgotten() -> None:
    stage = Stage(Justified())
    for other in (1, 2):
        stage.see(0, stage.vote(other, PREVOTE, 1, 3, None))
    stage.end(0)
    stage.begin(0)
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, None))
    assert stage.trace.violation is None


def test_a_vote_that_wakes_the_proposer_may_be_of_a_later_round() -> None:
    stage = Stage(Justified(), powers=(2, 1, 2, 1))
    proposer = stage.get_proposer(1, 0)
    stage.see(proposer, stage.vote(2 - proposer, PREVOTE, 1, 3, None))
    stage.sign(proposer, stage.proposal(proposer, 1, 0, stage.block(1)))
    assert stage.trace.violation is None


def locked_in_round_0(stage: Stage) -> None:
    """Validator 0 precommits a block in round 0 and is in round 1."""
    stage.propose(stage.block(1), 0, NODES)
    stage.poll(PREVOTE, 1, 0, stage.block(1), NODES)
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 0, stage.block(1)))
    stage.see(0, stage.vote(2, PRECOMMIT, 1, 0, stage.block(1)))
    stage.see(0, stage.vote(3, PRECOMMIT, 1, 0, None))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 1, None))


def test_going_on_with_a_height_that_is_decided_is_rejected() -> None:
    stage = Stage(Justified())
    locked_in_round_0(stage)
    stage.see(0, stage.vote(1, PRECOMMIT, 1, 0, stage.block(1)))
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 1, None))
    stage.assert_violated("validator-1 at height 1 round 1 goes on with that height ≠ precommits of power 3")


def test_going_on_with_a_height_that_lacks_a_precommit() -> None:
    stage = Stage(Justified())
    locked_in_round_0(stage)
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 1, None))
    assert stage.trace.violation is None


def test_a_valid_round_without_its_polka_is_rejected() -> None:
    stage = Stage(Justified())
    proposer = stage.get_proposer(1, 1)
    end_round(stage, proposer)
    stage.sign(proposer, stage.proposal(proposer, 1, 1, stage.block(1), valid_round=0))
    stage.assert_violated("proposes with valid round 0, of which it saw no polka")


def test_a_block_that_is_logged_after_its_precommit_is_rejected() -> None:
    stage = Stage(Justified())
    block = stage.block(1)
    proposer = stage.get_proposer(1, 0)
    node = (proposer + 1) % 4
    proposal = stage.proposal(proposer, 1, 0, block)
    stage.do(proposer, Append(Seen(BlockPart(1, block.data))), Append(Signed(proposal)), Flush())
    stage.see(node, proposal)
    stage.poll(PREVOTE, 1, 0, block, (proposer, node))
    third = (proposer + 2) % 4
    stage.see(third, proposal)
    stage.sign(third, stage.vote(third, PREVOTE, 1, 0, block))
    stage.see(node, stage.vote(third, PREVOTE, 1, 0, block))
    stage.sign(node, stage.vote(node, PRECOMMIT, 1, 0, block))
    stage.see(node, BlockPart(1, block.data))
    stage.commit(node, block, stage.certificate(block, 0, NODES))
    stage.assert_violated(f"{stage.name(node)} at height 1 precommitted", "its log")
