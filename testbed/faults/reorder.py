"""reorder: three messages of ten between validators are overtaken by later ones."""

from __future__ import annotations

from testbed.faults.links import RateFault


class Reorder(RateFault):
    kind = "reorder"
    rate = 0.3
    counted = "reordered"
