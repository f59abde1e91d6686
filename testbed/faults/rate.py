"""rate: every link between validators carries at most 32 kB a second in each direction."""

from __future__ import annotations

from testbed.faults.links import RateFault
from testbed.needs import CONNECTIONS

BYTES_PER_SECOND = 32_000


class Rate(RateFault):
    kind = "rate"
    needs = frozenset({CONNECTIONS})
    counted = "delayed"

    def change(self, sign: int) -> None:
        self.cluster.connections.limit(BYTES_PER_SECOND if sign > 0 else 0)
