"""latency: every message between validators takes 100 ms longer."""

from __future__ import annotations

from testbed.faults.links import RateFault

LATENCY_MS = 100


class Latency(RateFault):
    kind = "latency"
    counted = "delayed"

    def change(self, sign: int) -> None:
        self.cluster.links.change_delay(sign * LATENCY_MS, sign * LATENCY_MS)
