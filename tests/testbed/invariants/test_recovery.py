from __future__ import annotations

from tana.types.messages import PREVOTE
from testbed.invariants.recovery import Recovery
from testbed.invariants.resumption import BOUND_MS
from testbed.verdict import Outcome
from tests.testbed.tracing import Stage

NODES = (0, 1, 2, 3)


def healed(*, is_virtual: bool) -> Stage:
    stage = Stage(Recovery(), is_virtual=is_virtual)
    stage.decide(stage.block(1))
    stage.expect("begin", "must", NODES)
    return stage


def test_the_next_height_in_time_is_accepted() -> None:
    for is_virtual in (True, False):
        stage = healed(is_virtual=is_virtual)
        stage.decide(stage.block(2), round=3)
        stage.expect("end", "must", NODES)
        stage.assert_proven("4 times in 1 stretches")


def test_too_many_rounds_are_rejected() -> None:
    stage = healed(is_virtual=True)
    stage.decide(stage.block(2), round=15)
    stage.assert_violated("validator-1 decided height 2 after 15 more rounds ≠ at most 14 (as the test says)")


def test_rounds_without_an_end_are_rejected() -> None:
    stage = healed(is_virtual=True)
    stage.sign(2, stage.vote(2, PREVOTE, 2, 40, None))
    stage.expect("end", "must", NODES)
    stage.assert_violated("validator-3 is still at height 1 after 40 more rounds ≠ at most 14")


def test_a_standstill_is_rejected() -> None:
    stage = healed(is_virtual=True)
    stage.now_ms += 600_001
    stage.expect("end", "must", NODES)
    stage.assert_violated("validator-1 is still at height 1 after 600001 ms")


def test_too_late_in_real_time_is_rejected() -> None:
    stage = healed(is_virtual=False)
    stage.now_ms += BOUND_MS
    stage.decide(stage.block(2))
    stage.assert_violated("validator-1 went on after")


def test_silence_to_the_end_is_rejected() -> None:
    stage = healed(is_virtual=False)
    stage.trace.world.now_ms = stage.now_ms + BOUND_MS + 1
    stage.assert_violated("is still at height 1")


def test_a_stretch_that_is_too_short_proves_nothing() -> None:
    stage = healed(is_virtual=True)
    stage.expect("end", "must", NODES)
    assert stage.finish().outcome is Outcome.NOT_ASKED


def test_stretches_in_which_somebody_is_missing_are_not_its_matter() -> None:
    stage = Stage(Recovery(), is_virtual=True)
    stage.expect("begin", "must", (0, 1, 2), missing=(3,))
    stage.decide(stage.block(1), round=30, nodes=(0, 1, 2))
    assert stage.finish().outcome is Outcome.NOT_ASKED
