from __future__ import annotations

from testbed.simulation.again import judge_again
from testbed.simulation.drawing import make_schedule
from testbed.simulation.world import run_schedule
from testbed.verdict import Outcome


def test_another_interpreter_gives_the_same_trace() -> None:
    schedule = make_schedule(3, heights=12)
    verdict = judge_again(schedule, run_schedule(schedule).trace_hash)
    assert verdict.outcome is Outcome.PROVEN, verdict


def test_another_trace_is_a_violation() -> None:
    verdict = judge_again(make_schedule(3, heights=12), "ab" * 32)
    assert verdict.outcome is Outcome.VIOLATED
    assert str(verdict).startswith("VIOLATED invariant 20 determinism: the same seed gave trace abab")
