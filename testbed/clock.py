"""A validator's clock that the harness sets wrong: ahead of true time, running too fast, or both.

A wish for it is text, `AHEAD_MS DRIFT_PPM`; empty is a clock that is right. What is wrong is what the validator reads
as the time of day. Its timers are those of the event loop, which no wish changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

MILLION = 1_000_000


def write_clock(ahead_ms: int, drift_ppm: int) -> str:
    """The wish for a clock so far ahead, and gaining so many µs in a second from then on."""
    return f"{ahead_ms} {drift_ppm}"


def read_clock(wish: str) -> tuple[int, int]:
    """How far ahead in ms, and the drift in ppm."""
    ahead_ms, drift_ppm = wish.split() if wish else ("0", "0")
    return int(ahead_ms), int(drift_ppm)


class SteeredClock:
    """A clock in ms since 1970. `read_true_ms` is the one that is right."""

    def __init__(self, read_true_ms: Callable[[], int] = lambda: time.time_ns() // MILLION) -> None:
        self._read_true_ms = read_true_ms
        self._wish = ""
        self._ahead_ms = self._drift_ppm = 0
        self._since_ms = 0

    def now_ms(self) -> int:
        true_ms = self._read_true_ms()
        return true_ms + self._ahead_ms + (true_ms - self._since_ms) * self._drift_ppm // MILLION

    def obey(self, wish: str) -> None:
        """Be as wrong as wished, from now on; the same wish again changes nothing."""
        if wish != self._wish:
            self._wish = wish
            self._ahead_ms, self._drift_ppm = read_clock(wish)
            self._since_ms = self._read_true_ms()
