from __future__ import annotations

from tana.node.effects import Append, SetTimer, Signed
from tana.node.inputs import Timer
from tana.types.messages import PRECOMMIT, PREVOTE
from testbed.invariants.lock_rule import LockRule
from tests.testbed.tracing import Stage


def locked(*, traitors: tuple[int, ...] = ()) -> Stage:
    """Validator 0 has locked on block 0 of height 1 in round 1."""
    stage = Stage(LockRule(), traitors=traitors)
    stage.poll(PREVOTE, 1, 1, stage.block(1), (0, 1, 2))
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 1, stage.block(1)))
    return stage


def test_true_heights_are_accepted() -> None:
    stage = Stage(LockRule())
    stage.decide(stage.block(1))
    stage.decide(stage.block(2))
    stage.assert_proven("8 locks kept")


def test_the_locked_block_and_nil_are_accepted() -> None:
    stage = locked()
    stage.sign(0, stage.vote(0, PREVOTE, 1, 2, stage.block(1)))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 3, None))
    stage.assert_proven("0 times left")


def test_a_later_polka_unlocks() -> None:
    stage = locked()
    for other in (1, 2, 3):
        stage.sign(other, stage.vote(other, PREVOTE, 1, 2, stage.block(1, label=1)))
        stage.see(0, stage.vote(other, PREVOTE, 1, 2, stage.block(1, label=1)))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 3, stage.block(1, label=1)))
    stage.assert_proven("1 times left")


def test_a_precommit_that_died_with_its_node_locks_nothing() -> None:
    stage = Stage(LockRule())
    stage.poll(PREVOTE, 1, 1, stage.block(1), (0, 1, 2))
    stage.do(0, Append(Signed(stage.vote(0, PRECOMMIT, 1, 1, stage.block(1)))))
    stage.end(0)
    stage.begin(0)
    stage.sign(0, stage.vote(0, PREVOTE, 1, 2, stage.block(1, label=1)))
    stage.assert_proven("1 locks kept")


def test_a_lock_from_before_stays_where_a_later_one_died_with_its_node() -> None:
    stage = locked()
    stage.poll(PREVOTE, 1, 2, stage.block(1), (0, 1, 2))
    stage.do(0, Append(Signed(stage.vote(0, PRECOMMIT, 1, 2, stage.block(1)))))
    stage.end(0)
    stage.begin(0)
    stage.sign(0, stage.vote(0, PREVOTE, 1, 3, stage.block(1, label=1)))
    stage.assert_violated("validator-1 at height 1 prevotes", "in round 3", "locked since round 1")


def test_another_block_without_a_polka_is_rejected() -> None:
    stage = locked()
    stage.sign(0, stage.vote(0, PREVOTE, 1, 2, stage.block(1, label=1)))
    stage.assert_violated("validator-1 at height 1 prevotes", "in round 2", "locked since round 1")


def test_a_lock_is_kept_across_a_restart() -> None:
    stage = locked()
    stage.end(0)
    stage.begin(0, sign_floor=(1, 1, PRECOMMIT))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 2, stage.block(1, label=1)))
    stage.assert_violated("validator-1 at height 1 prevotes")


def test_a_polka_of_an_earlier_round_does_not_unlock() -> None:
    stage = Stage(LockRule())
    other = stage.block(1, label=1)
    stage.poll(PREVOTE, 1, 0, other, (0, 1, 2))
    stage.poll(PREVOTE, 1, 1, stage.block(1), (0, 1, 2))
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 1, stage.block(1)))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 2, other))
    stage.assert_violated("validator-1 at height 1 prevotes")


def test_a_polka_that_is_seen_too_late_does_not_unlock() -> None:
    stage = locked()
    other = stage.block(1, label=1)
    stage.sign(0, stage.vote(0, PREVOTE, 1, 3, other))
    for node in (1, 2, 3):
        stage.sign(node, stage.vote(node, PREVOTE, 1, 2, other))
        stage.see(0, stage.vote(node, PREVOTE, 1, 2, other))
    stage.assert_violated("validator-1 at height 1 prevotes")


def test_a_polka_of_votes_that_nobody_made_does_not_unlock() -> None:
    stage = locked(traitors=(3,))
    other = stage.block(1, label=1)
    for node in (1, 2, 3):
        stage.see(0, stage.vote(node, PREVOTE, 1, 2, other))
    stage.sign(0, stage.vote(0, PREVOTE, 1, 3, other))
    stage.assert_violated("validator-1 at height 1 prevotes")


def test_proposing_another_block_is_rejected() -> None:
    stage = locked()
    stage.sign(0, stage.proposal(0, 1, 4, stage.block(1, label=1)))
    stage.assert_violated("validator-1 at height 1 proposes")


def test_a_traitor_may_forget_its_lock() -> None:
    stage = locked(traitors=(3,))
    stage.poll(PREVOTE, 1, 1, stage.block(1), (3,))
    stage.sign(3, stage.vote(3, PRECOMMIT, 1, 1, stage.block(1)))
    stage.sign(3, stage.vote(3, PREVOTE, 1, 2, stage.block(1, label=1)))
    stage.assert_proven()


def seen_late(*, others: tuple[int, ...] = (1, 2)) -> Stage:
    """Validator 0 prevoted block 0 of height 1, precommitted nil, and then heard that others had prevoted it too."""
    stage = Stage(LockRule())
    stage.sign(0, stage.vote(0, PREVOTE, 1, 0, stage.block(1)))
    stage.sign(0, stage.vote(0, PRECOMMIT, 1, 0, None))
    for other in others:
        stage.sign(other, stage.vote(other, PREVOTE, 1, 0, stage.block(1)))
        stage.see(0, stage.vote(other, PREVOTE, 1, 0, stage.block(1)))
    stage.do(0, SetTimer(Timer("propose", 1, 1), 100))
    return stage


def test_the_block_of_a_late_polka_is_proposed() -> None:
    stage = seen_late()
    stage.sign(0, stage.proposal(0, 1, 2, stage.block(1), valid_round=0))
    assert stage.trace.violation is None


def test_another_block_after_a_late_polka_is_rejected() -> None:
    stage = seen_late()
    stage.sign(0, stage.proposal(0, 1, 2, stage.block(1, label=1)))
    stage.assert_violated("validator-1 at height 1 round 2 proposes", "of which it saw a polka in round 0")


def test_prevotes_of_less_than_a_quorum_bind_nobody() -> None:
    stage = seen_late(others=(1,))
    stage.sign(0, stage.proposal(0, 1, 2, stage.block(1, label=1)))
    assert stage.trace.violation is None


def test_a_polka_that_comes_after_its_round_binds_nobody() -> None:
    stage = seen_late(others=(1,))
    stage.sign(2, stage.vote(2, PREVOTE, 1, 0, stage.block(1)))
    stage.see(0, stage.vote(2, PREVOTE, 1, 0, stage.block(1)))
    stage.sign(0, stage.proposal(0, 1, 2, stage.block(1, label=1)))
    assert stage.trace.violation is None


def test_a_restart_may_forget_a_late_polka() -> None:
    stage = seen_late()
    stage.end(0)
    stage.begin(0, sign_floor=(1, 0, PRECOMMIT))
    stage.sign(0, stage.proposal(0, 1, 2, stage.block(1, label=1)))
    assert stage.trace.violation is None
