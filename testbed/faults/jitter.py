"""jitter: messages between validators take up to 200 ms longer, each another time."""

from __future__ import annotations

from testbed.faults.links import RateFault

JITTER_MS = 200


class Jitter(RateFault):
    kind = "jitter"
    counted = "delayed"

    def change(self, sign: int) -> None:
        self.cluster.links.change_delay(0, sign * JITTER_MS)
