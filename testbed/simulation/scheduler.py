"""Virtual time with what is due at which moment; nothing passes unless somebody runs it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Scheduler:
    """Calls in the order of their times; equal times in the order in which they were asked for.

    A call is a function and its arguments, so that the hot path makes no closures.
    """

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._is_stopped = False

    def call_at(self, time_ms: int, function: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        due_ms = time_ms if time_ms > self.now_ms else self.now_ms
        heapq.heappush(self._queue, (due_ms, self._count, function, arguments))

    def call_after(self, delay_ms: int, function: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._count, function, arguments))

    def run_until(self, time_ms: int) -> None:
        """Do everything that is due up to and including `time_ms`; then that is the time. `stop` ends it earlier."""
        queue, pop = self._queue, heapq.heappop
        self._is_stopped = False
        while queue and queue[0][0] <= time_ms:
            self.now_ms, _, function, arguments = pop(queue)
            function(*arguments)
            if self._is_stopped:
                return
        self.now_ms = max(self.now_ms, time_ms)

    def stop(self) -> None:
        """Let `run_until` return after the call that is being made."""
        self._is_stopped = True
