"""Virtual time with what is due at which moment; nothing passes unless somebody runs it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Call = tuple[Callable[..., None], tuple[Any, ...]]


class Scheduler:
    """Calls in the order of their times; equal times in the order in which they were asked for.

    A call is a function and its arguments, so that the hot path makes no closures. Many calls share a moment: only the
    moments are kept in a heap.
    """

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._moments: list[int] = []
        self._calls: dict[int, list[Call]] = {}
        self._done = 0
        """How many calls of the first moment were made."""
        self._is_stopped = False

    def call_at(self, time_ms: int, function: Callable[..., None], *arguments: Any) -> None:
        self._add(time_ms, (function, arguments))

    def call_after(self, delay_ms: int, function: Callable[..., None], *arguments: Any) -> None:
        self._add(self.now_ms + delay_ms, (function, arguments))

    def run_until(self, time_ms: int) -> None:
        """Do everything that is due up to and including `time_ms`; then that is the time. `stop` ends it earlier."""
        moments = self._moments
        self._is_stopped = False
        while moments and moments[0] <= time_ms:
            self.now_ms = moments[0]
            calls = self._calls[self.now_ms]
            # What is due at once is added to these very calls.
            while self._done < len(calls):
                function, arguments = calls[self._done]
                self._done += 1
                function(*arguments)
                if self._is_stopped:
                    return
            self._done = 0
            del self._calls[heappop(moments)]
        self.now_ms = max(self.now_ms, time_ms)

    def stop(self) -> None:
        """Let `run_until` return after the call that is being made."""
        self._is_stopped = True

    def _add(self, time_ms: int, call: Call) -> None:
        due_ms = time_ms if time_ms > self.now_ms else self.now_ms
        calls = self._calls.get(due_ms)
        if calls is None:
            calls = self._calls[due_ms] = []
            heappush(self._moments, due_ms)
        calls.append(call)
