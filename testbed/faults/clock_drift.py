"""clock_drift: a validator's clock gains 5 % while it lasts, and is set right when undone."""

from __future__ import annotations

from testbed.faults.clocks import ClockFault


class ClockDrift(ClockFault):
    kind = "clock_drift"
    drift_ppm = 50_000
    least_seen_ms = 100
