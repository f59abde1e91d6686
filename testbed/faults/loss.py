"""loss: three messages of ten between validators are lost; in containers packets, which TCP sends again."""

from __future__ import annotations

from testbed.backends.base import Losses
from testbed.faults.links import RateFault
from testbed.needs import LOSSES


class Loss(RateFault):
    kind = "loss"
    rate = 0.3
    counted = "lost"
    needs = frozenset({LOSSES})

    @property
    def traffic(self) -> Losses:
        return self.cluster.losses
