"""Determinism: two runs of one seed, in two interpreters with different hash seeds, give the same trace."""

from __future__ import annotations

from testbed.invariants.base import Invariant
from testbed.needs import RUNS


class Determinism(Invariant):
    number = 20
    name = "determinism"
    needs = frozenset({RUNS})

    def __init__(self) -> None:
        super().__init__()
        self._compared = 0

    def on_runs(self, first: str, second: str) -> None:
        self._compared += 1
        if first != second:
            self.violate(f"the same seed gave trace {first[:16]}… ≠ {second[:16]}…", traces=[first, second])

    def find_missing(self) -> str:
        return "" if self._compared else "the seed was run once"

    def summarize(self) -> str:
        return f"{self._compared} times the same trace twice"
