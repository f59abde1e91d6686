from __future__ import annotations

from tana.node.effects import Append, Broadcast, Flush, Signed
from tana.types.messages import PRECOMMIT, PREVOTE
from testbed.invariants.double_sign import DoubleSign
from tests.testbed.tracing import Stage


def test_true_heights_are_accepted() -> None:
    stage = Stage(DoubleSign())
    stage.decide(stage.block(1))
    stage.decide(stage.block(2))
    stage.assert_proven("18 messages signed")


def test_the_same_message_sent_again_after_a_restart_is_accepted() -> None:
    stage = Stage(DoubleSign())
    vote = stage.vote(0, PREVOTE, 1, 0, stage.block(1))
    stage.sign(0, vote)
    stage.end(0)
    stage.begin(0, sign_floor=(1, 0, PREVOTE))
    stage.do(0, Broadcast(vote))
    stage.assert_proven()


def test_two_prevotes_in_one_round_are_rejected() -> None:
    stage = Stage(DoubleSign())
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, stage.block(1)))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, None))
    stage.assert_violated("validator-1 signed two messages as prevote of height 1 round 0", "nil ≠ ")


def test_another_precommit_after_a_restart_is_rejected() -> None:
    stage = Stage(DoubleSign())
    stage.sign(2, stage.vote(2, PRECOMMIT, 1, 3, stage.block(1)))
    stage.end(2)
    stage.begin(2)
    stage.sign(2, stage.vote(2, PRECOMMIT, 1, 3, stage.block(1, label=1)))
    stage.assert_violated("validator-3", "precommit of height 1 round 3")


def test_two_proposals_that_differ_in_their_valid_round_are_rejected() -> None:
    stage = Stage(DoubleSign())
    stage.sign(0, stage.proposal(0, 1, 2, stage.block(1)))
    stage.sign(0, stage.proposal(0, 1, 2, stage.block(1), valid_round=1))
    stage.assert_violated("valid round 1")


def test_a_vote_sent_before_its_flush_is_rejected() -> None:
    stage = Stage(DoubleSign())
    vote = stage.vote(0, PREVOTE, 1, 0, None)
    stage.do(0, Append(Signed(vote)), Broadcast(vote), Flush())
    stage.assert_violated("validator-1 sent its prevote of height 1 round 0", "not durable")


def test_a_vote_that_is_in_no_log_is_rejected() -> None:
    stage = Stage(DoubleSign())
    stage.sign(1, stage.vote(1, PREVOTE, 1, 0, None))
    stage.do(0, Broadcast(stage.vote(0, PREVOTE, 1, 0, None)))
    stage.assert_violated("validator-1 sent a prevote of height 1 round 0 for nil ≠ its log, which holds no such")


def test_sign_state_that_has_forgotten_is_rejected() -> None:
    stage = Stage(DoubleSign())
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, None))
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 0, None))
    stage.end(0)
    stage.begin(0, sign_floor=(1, 0, PREVOTE))
    stage.assert_violated("begins with sign-state up to prevote of height 1 round 0")


def test_a_traitor_may_sign_twice() -> None:
    stage = Stage(DoubleSign(), traitors=[0])
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, stage.block(1)))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, None))
    stage.sign(1, stage.vote(1, PREVOTE, 1, 0, None))
    stage.assert_proven()
