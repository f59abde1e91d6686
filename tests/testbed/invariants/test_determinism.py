from __future__ import annotations

from testbed.invariants.determinism import Determinism
from testbed.trace import Trace
from testbed.verdict import Outcome


def test_the_same_trace_twice_is_accepted() -> None:
    trace = Trace([Determinism()])
    trace.compare_runs("ab" * 32, "ab" * 32)
    [verdict] = trace.finish()
    assert verdict.outcome is Outcome.PROVEN


def test_another_trace_is_rejected() -> None:
    trace = Trace([Determinism()])
    trace.compare_runs("ab" * 32, "cd" * 32)
    [verdict] = trace.finish()
    assert verdict.outcome is Outcome.VIOLATED
    assert "abababab" in verdict.line
    assert "cdcdcdcd" in verdict.line


def test_one_run_proves_nothing() -> None:
    [verdict] = Trace([Determinism()]).finish()
    assert verdict.outcome is Outcome.COULD_NOT_TELL


def test_only_simulation_can_run_a_seed_twice() -> None:
    assert Determinism.get_backends() == ("simulation",)
