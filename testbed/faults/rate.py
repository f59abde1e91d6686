"""rate: every link between validators carries at most 32 kB a second in each direction."""

from __future__ import annotations

from testbed.faults.links import RateFault

BYTES_PER_SECOND = 32_000


class Rate(RateFault):
    kind = "rate"
    counted = "delayed"

    def change(self, sign: int) -> None:
        self.cluster.links.limit(BYTES_PER_SECOND if sign > 0 else 0)
