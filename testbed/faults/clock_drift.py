"""clock_drift: a validator's clock gains 5 % while it lasts, and is set right when undone."""

from __future__ import annotations

from testbed.faults.base import Fault, NotApplied
from testbed.needs import LINKS

DRIFT_PPM = 50_000


class ClockDrift(Fault):
    kind = "clock_drift"
    removes_power = False
    needs = frozenset({LINKS})

    def apply(self) -> None:
        self._before = self._read()
        self.cluster.links.set_clock(self.node, self._before, DRIFT_PPM)

    def verify(self) -> str:
        self.require(
            lambda: self._read() > self._before,
            f"{self.node}'s clock to gain",
            f"{self.node}'s clock does not run faster than it should",
        )
        return self.describe_effect()

    def undo(self) -> None:
        self.cluster.links.set_clock(self.node, self._before, 0)
        if self._read() != self._before:
            raise NotApplied(f"{self.node}'s clock is {self._read()} ms ahead, not {self._before}")

    def describe_effect(self) -> str:
        gained_ms = self._read() - self._before
        return f"{self.node}'s clock gained {gained_ms} ms" if gained_ms else ""

    def _read(self) -> int:
        return self.cluster.links.read_clock(self.node)
