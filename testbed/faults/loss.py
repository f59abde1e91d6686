"""loss: three messages of ten between validators are lost."""

from __future__ import annotations

from testbed.faults.links import RateFault


class Loss(RateFault):
    kind = "loss"
    rate = 0.3
    counted = "lost"
