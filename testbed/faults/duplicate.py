"""duplicate: three messages of ten between validators come twice."""

from __future__ import annotations

from testbed.faults.links import RateFault


class Duplicate(RateFault):
    kind = "duplicate"
    rate = 0.3
    counted = "duplicated"
