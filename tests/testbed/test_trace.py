from __future__ import annotations

import pytest

from testbed.invariants import INVARIANTS, Invariant, make_invariants
from testbed.invariants.agreement import Agreement
from testbed.invariants.double_sign import DoubleSign
from testbed.needs import STEPS
from testbed.trace import Trace
from testbed.verdict import Outcome
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
