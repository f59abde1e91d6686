"""Shrinking: what a violation does not need is taken away, and what it needs stays."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tana.types.validator_set import ValidatorSet
from testbed.simulation.schedule import ClockPlan, FaultKind, PlannedFault, Schedule, format_schedule, parse_schedule
from testbed.simulation.shrink import minimize, shrink
from testbed.simulation.world import run_schedule

HALVES = PlannedFault("halves", 3, after_ms=10, duration_ms=4000, nodes=(0, 1))
KINDS: tuple[FaultKind, ...] = ("pause", "loss", "slow", "crash", "delay", "reorder", "pause", "slow")
NOISE = tuple(
    PlannedFault(kind, height, duration_ms=40, nodes=(height % 4,), rate=0.1, by=5, effects=3)
    for height, kind in enumerate(KINDS, start=1)
)
BUSY = Schedule(
    seed=5,
    nodes=4,
    heights=15,
    has_wire=True,
    clocks=(ClockPlan(5),) * 4,
    transaction_interval_ms=50,
    faults=tuple(sorted((*NOISE, HALVES), key=lambda fault: fault.at_height)),
)


def test_minimize_finds_what_is_needed() -> None:
    tries: list[int] = []

    def is_enough(items: tuple[int, ...]) -> bool:
        tries.append(len(items))
        return {3, 17} <= set(items)

    assert minimize(range(30), is_enough) == (3, 17)
    assert len(tries) < 120


def test_minimize_keeps_everything_where_all_is_needed() -> None:
    assert minimize((1, 2, 3), lambda items: len(items) == 3) == (1, 2, 3)


def test_minimize_of_nothing_needed() -> None:
    assert minimize(range(8), lambda items: True) == ()


@pytest.fixture
def low_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the power is enough: two halves that do not hear each other fork the chain."""
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: 2 * power >= self.total_power)


@pytest.mark.usefixtures("low_quorum")
def test_the_schedule_of_a_planted_bug_becomes_minimal() -> None:
    outcome = run_schedule(BUSY)
    assert outcome.violation is not None
    shrunk = shrink(BUSY, outcome)
    assert shrunk.outcome.violation is not None
    assert shrunk.outcome.violation.name == outcome.violation.name
    assert len(shrunk.schedule.faults) <= 1
    assert not shrunk.schedule.has_wire
    assert shrunk.schedule.clocks == ()
    again = run_schedule(parse_schedule(format_schedule(shrunk.schedule), "minimal.json"))
    assert again.trace_hash == shrunk.outcome.trace_hash
    assert again.violation == shrunk.outcome.violation


@pytest.mark.usefixtures("low_quorum")
def test_the_number_of_runs_is_bounded() -> None:
    schedule = replace(BUSY, heights=9)
    assert shrink(schedule, run_schedule(schedule), runs_max=2).runs == 2
