"""Two-phase: while some nodes stay broken, a quorum that is whole goes on within a bound."""

from __future__ import annotations

from testbed.invariants.facts import Expectation
from testbed.invariants.resumption import Resumption
from testbed.needs import EXPECTATIONS, STEPS


class TwoPhase(Resumption):
    number = 17
    name = "two_phase"
    needs = frozenset({STEPS, EXPECTATIONS})

    def concerns(self, expectation: Expectation) -> bool:
        return bool(expectation.missing)
