"""A node's own clock: it may be wrong by an offset, and run too fast or too slow."""

from __future__ import annotations

from testbed.simulation.scheduler import Scheduler

MILLION = 1_000_000


class Clock:
    """What a node reads as its time. `drift_ppm` is how many microseconds a second it gains (or, negative, loses)."""

    def __init__(self, scheduler: Scheduler, offset_ms: int = 0, drift_ppm: int = 0) -> None:
        self._scheduler = scheduler
        self.drift_ppm = drift_ppm
        self._began_ms = scheduler.now_ms
        self._offset_ms = offset_ms

    @property
    def offset_ms(self) -> int:
        """How far ahead of true time it is now, in ms."""
        elapsed_ms = self._scheduler.now_ms - self._began_ms
        return self._offset_ms + elapsed_ms * self.drift_ppm // MILLION

    def now_ms(self) -> int:
        if not self.drift_ppm:
            return self._scheduler.now_ms + self._offset_ms
        return self._scheduler.now_ms + self.offset_ms

    def shift(self, by_ms: int) -> None:
        """Set it forward, or back."""
        self._offset_ms += by_ms

    def set_drift(self, drift_ppm: int) -> None:
        """Let it run at another speed from now on."""
        self._offset_ms = self.offset_ms
        self._began_ms = self._scheduler.now_ms
        self.drift_ppm = drift_ppm

    def to_true_ms(self, delay_ms: int) -> int:
        """How much true time passes while this clock counts `delay_ms`, rounded up: a timer never fires early."""
        if not self.drift_ppm:
            return delay_ms
        return -(-delay_ms * MILLION // (MILLION + self.drift_ppm))
