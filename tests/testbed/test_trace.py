from __future__ import annotations

import pytest

from testbed.invariants import INVARIANTS, Invariant, make_invariants
from testbed.invariants.agreement import Agreement
from testbed.invariants.double_sign import DoubleSign
from testbed.needs import STEPS
from testbed.trace import Trace
from testbed.verdict import Outcome
from tests.node.machine_net import make_deposit
from tests.testbed.traced_net import TracedNet
from tests.testbed.tracing import Stage


def test_a_missing_journal_makes_could_not_tell() -> None:
    stage = Stage(Agreement())
    stage.decide(stage.block(1))
    stage.trace.miss(STEPS, "the journal of validator-2 is missing")
    verdict = stage.finish()
    assert verdict.outcome is Outcome.COULD_NOT_TELL
    assert verdict.line == "the journal of validator-2 is missing"


def test_nothing_fed_proves_nothing() -> None:
    for verdict in Trace(make_invariants()).finish():
        assert verdict.outcome is Outcome.COULD_NOT_TELL, verdict


def test_a_run_that_ended_early_proves_nothing() -> None:
    stage = Stage(Agreement())
    stage.decide(stage.block(1))
    [verdict] = stage.trace.finish(is_complete=False)
    assert verdict.outcome is Outcome.COULD_NOT_TELL


def test_the_first_violation_is_kept() -> None:
    stage = Stage(Agreement(), DoubleSign())
    stage.sign(0, stage.vote(0, 1, 1, 0, None))
    stage.sign(0, stage.vote(0, 1, 1, 0, stage.block(1)))
    one, other = stage.block(1), stage.block(1, label=1)
    stage.commit(0, one, stage.certificate(one, 0, (0, 2, 3)))
    stage.commit(1, other, stage.certificate(other, 0, (1, 2, 3)))
    assert stage.trace.violation is not None
    assert (stage.trace.violation.number, stage.trace.violation.name) == (7, "double_sign")
    assert stage.trace.violation.node == "validator-1"


def test_invalid_handler_that_nobody_calls() -> None:
    class Misspelt(Agreement):
        def on_comit(self) -> None: ...

    with pytest.raises(AssertionError, match="on_comit"):
        Trace([Misspelt()])


def test_numbers_and_names_are_unique() -> None:
    numbers = [kind.number for kind in INVARIANTS]
    assert numbers == sorted(set(numbers))
    assert len({kind.name for kind in INVARIANTS}) == len(INVARIANTS)
    for kind in INVARIANTS:
        assert issubclass(kind, Invariant)
        assert kind.__module__ == f"testbed.invariants.{kind.name}"
        assert kind.get_backends(), kind


def test_real_machines_under_loss_and_crashes_violate_nothing() -> None:
    net = TracedNet(make_invariants(), count=4, loss=0.2, seed=3)
    for turn in range(1, 7):
        net.submit(turn % 4, make_deposit(turn - 1))
        net.run_until(net.all_at(4 * turn))
        net.stop(turn % 4)
        net.run_until(net.all_at(4 * turn + 2))
        net.start(turn % 4)
    assert net.trace.violation is None, net.trace.violation
    proven = {verdict.check for verdict in net.trace.finish() if verdict.outcome is Outcome.PROVEN}
    numbers = {invariant.number for invariant in net.trace.invariants if invariant.title in proven}
    assert numbers >= {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14}
