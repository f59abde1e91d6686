"""Making a schedule minimal: what can be left out while the same invariant is still violated.

Delta debugging (Zeller and Hildebrandt, 2002) over the list of faults, then everything else that can be taken away or
made plainer, one thing after the other, until nothing more can. A schedule that was changed is another run, with other
delays: it may violate the invariant at another height, which is as good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace

from tana.types.errors import SettingsError
from testbed.simulation.schedule import LinkPlan, PlannedFault, Schedule, TimingPlan, check_schedule
from testbed.simulation.world import Outcome, World

RUNS_MAX = 600
"""A bound for very long schedules; what is left then is small enough to read."""

T = TypeVar("T")


@dataclass
class Shrunk:
    """A schedule with nothing left to take away, how it ends, and how many runs that took."""

    schedule: Schedule
    outcome: Outcome
    runs: int


class _OutOfRuns(Exception):
    """The bound is reached: what was found so far is the answer."""


class _Shrinker:
    def __init__(
        self, schedule: Schedule, outcome: Outcome, on_run: Callable[[int, Schedule], None], runs_max: int
    ) -> None:
        assert outcome.violation is not None, "only a schedule that violates something can be shrunk"
        self.best = schedule
        self.outcome = outcome
        self.runs = 0
        self._name = outcome.violation.name
        self._on_run = on_run
        self._runs_max = runs_max

    def try_out(self, candidate: Schedule) -> bool:
        """Whether a candidate violates the same invariant; then it is the best so far."""
        if candidate == self.best:
            return False
        try:
            check_schedule(candidate, "candidate")
        except SettingsError:
            return False
        if self.runs >= self._runs_max:
            raise _OutOfRuns
        self.runs += 1
        outcome = World(candidate).run()
        is_same = outcome.violation is not None and outcome.violation.name == self._name
        if is_same:
            self.best, self.outcome = candidate, outcome
        self._on_run(self.runs, self.best)
        return is_same


def shrink(
    schedule: Schedule,
    outcome: Outcome,
    on_run: Callable[[int, Schedule], None] = lambda runs, best: None,
    runs_max: int = RUNS_MAX,
) -> Shrunk:
    """The smallest schedule found that violates what this one violates. `on_run` hears of each try."""
    shrinker = _Shrinker(schedule, outcome, on_run, runs_max)
    try:
        while _shrink_once(shrinker):
            pass
    except _OutOfRuns:
        pass
    return Shrunk(shrinker.best, shrinker.outcome, shrinker.runs)


def minimize(items: Sequence[T], is_enough: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...]:
    """A sublist that is still enough and of which no element can be spared. `items` is taken to be enough."""
    kept = tuple(items)
    parts = 2
    while kept:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            without = kept[:start] + kept[start + size :]
            if is_enough(without):
                kept = without
                parts = max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(kept))
    return kept


def _shrink_once(shrinker: _Shrinker) -> bool:
    """One pass over everything; whether it took anything away."""
    before = shrinker.best
    minimize(before.faults, lambda faults: shrinker.try_out(replace(shrinker.best, faults=faults)))
    minimize(before.traitors, lambda traitors: shrinker.try_out(replace(shrinker.best, traitors=traitors)))
    for candidate in _plainer(shrinker.best):
        shrinker.try_out(candidate(shrinker.best))
    for index in range(len(shrinker.best.faults)):
        for plain in _plainer_faults(shrinker.best.faults[index]):
            faults = list(shrinker.best.faults)
            faults[index] = plain
            shrinker.try_out(replace(shrinker.best, faults=tuple(faults)))
    return shrinker.best != before


def _plainer(schedule: Schedule) -> Iterator[Callable[[Schedule], Schedule]]:
    """Ways to make a whole schedule plainer, whatever else has become of it meanwhile."""
    yield lambda best: replace(best, adversary_ms=0)
    yield lambda best: replace(best, has_split_locks=False)
    yield lambda best: replace(best, broken=())
    yield lambda best: replace(best, is_broken_mute=False)
    yield lambda best: replace(best, clocks=())
    yield lambda best: replace(best, links=LinkPlan())
    yield lambda best: replace(best, transaction_interval_ms=0)
    yield lambda best: replace(best, powers=())
    yield lambda best: replace(best, has_real_signatures=False)
    yield lambda best: replace(best, has_wire=False)
    yield lambda best: replace(best, timing=TimingPlan())
    for heights in (3, 5, 8, 12, 20, 35):
        if heights < schedule.heights:
            yield lambda best, heights=heights: replace(best, heights=min(heights, best.heights))  # type: ignore[misc]


def _plainer_faults(fault: PlannedFault) -> Iterator[PlannedFault]:
    """The same fault at once, with fewer effects, or shorter."""
    yield replace(fault, after_ms=0)
    yield replace(fault, effects=0)
    yield replace(fault, effects=fault.effects // 2)
    yield replace(fault, is_noticed=False)
    yield replace(fault, duration_ms=fault.duration_ms // 2)
    yield replace(fault, at_height=fault.at_height // 2)
