"""A validator's clock is wrong as wished: from then on, by as much, and right again when the wish is gone."""

from __future__ import annotations

import pytest

from testbed.clock import SteeredClock, write_clock


class Time:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def read(self) -> int:
        return self.ms


def test_set_ahead_and_back() -> None:
    time = Time()
    clock = SteeredClock(time.read)
    assert clock.now_ms() == time.ms
    clock.obey(write_clock(3_000, 0))
    time.ms += 700
    assert clock.now_ms() == time.ms + 3_000
    clock.obey("")
    assert clock.now_ms() == time.ms


def test_drift_counts_from_the_wish_on() -> None:
    time = Time()
    clock = SteeredClock(time.read)
    time.ms += 5_000
    clock.obey(write_clock(-10, 50_000))
    assert clock.now_ms() == time.ms - 10
    time.ms += 2_000
    clock.obey(write_clock(-10, 50_000))
    assert clock.now_ms() == time.ms - 10 + 100, "the same wish again does not begin anew"


def test_invalid_wish() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        SteeredClock().obey("soon fast")
