"""Recovery: once nothing is broken any more, every correct node goes on within a bound."""

from __future__ import annotations

from testbed.invariants.facts import Expectation
from testbed.invariants.resumption import Resumption
from testbed.needs import EXPECTATIONS, STEPS


class Recovery(Resumption):
    number = 16
    name = "recovery"
    needs = frozenset({STEPS, EXPECTATIONS})

    def concerns(self, expectation: Expectation) -> bool:
        return not expectation.missing
