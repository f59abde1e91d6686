"""A virtual clock with what is due at which time; nothing passes unless somebody runs it."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Scheduler:
    """Calls in the order of their times; equal times in the order in which they were asked for."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def call_at(self, time_ms: int, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (max(time_ms, self.now_ms), self._count, call))

    def call_after(self, delay_ms: int, call: Callable[[], None]) -> None:
        self.call_at(self.now_ms + delay_ms, call)

    def run_until(self, time_ms: int) -> None:
        """Do everything that is due up to and including `time_ms`; then that is the time."""
        while self._queue and self._queue[0][0] <= time_ms:
            due_ms, _, call = heapq.heappop(self._queue)
            self.now_ms = due_ms
            call()
        self.now_ms = max(self.now_ms, time_ms)
