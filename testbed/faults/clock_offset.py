"""clock_offset: a validator's clock is set 3 s ahead, and set back when undone."""

from __future__ import annotations

from testbed.faults.base import Fault, NotApplied
from testbed.needs import LINKS

OFFSET_MS = 3_000


class ClockOffset(Fault):
    kind = "clock_offset"
    removes_power = False
    needs = frozenset({LINKS})

    def apply(self) -> None:
        self._before = self._read()
        self.cluster.links.set_clock(self.node, self._before + OFFSET_MS, 0)

    def verify(self) -> str:
        if self._read() != self._before + OFFSET_MS:
            raise NotApplied(f"{self.node}'s clock is {self._read()} ms ahead, not {self._before + OFFSET_MS}")
        return f"{self.node}'s clock is {self._read()} ms ahead"

    def undo(self) -> None:
        self.cluster.links.set_clock(self.node, self._before, 0)
        if self._read() != self._before:
            raise NotApplied(f"{self.node}'s clock is {self._read()} ms ahead, not {self._before}")

    def describe_effect(self) -> str:
        return f"{self.node} voted with a clock {self._read()} ms ahead"

    def _read(self) -> int:
        return self.cluster.links.read_clock(self.node)
