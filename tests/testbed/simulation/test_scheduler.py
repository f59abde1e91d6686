"""The virtual clock: things happen in the order of their times, ties in the order of asking, and never early."""

from __future__ import annotations

from testbed.simulation.scheduler import Scheduler


def test_order_of_times_then_of_asking() -> None:
    scheduler, seen = Scheduler(100), []
    for name, delay_ms in (("late", 9), ("first", 5), ("second", 5)):
        scheduler.call_after(delay_ms, lambda name=name: seen.append((name, scheduler.now_ms)))
    scheduler.run_until(104)
    assert (seen, scheduler.now_ms) == ([], 104)
    scheduler.run_until(200)
    assert seen == [("first", 105), ("second", 105), ("late", 109)]
    assert scheduler.now_ms == 200


def test_what_is_due_at_once_happens_in_the_same_run() -> None:
    scheduler, seen = Scheduler(0), []
    scheduler.call_after(1, lambda: scheduler.call_at(0, lambda: seen.append(scheduler.now_ms)))
    scheduler.run_until(1)
    assert seen == [1], "a time that has passed means now"


def test_stop_in_the_middle_of_a_moment() -> None:
    scheduler, seen = Scheduler(0), []

    def note(name: str) -> None:
        seen.append(name)
        if name == "first":
            scheduler.stop()

    for name in ("first", "second"):
        scheduler.call_after(1, note, name)
    scheduler.run_until(10)
    assert (seen, scheduler.now_ms) == (["first"], 1)
    scheduler.call_at(1, note, "asked for meanwhile")
    scheduler.run_until(10)
    assert (seen, scheduler.now_ms) == (["first", "second", "asked for meanwhile"], 10)
