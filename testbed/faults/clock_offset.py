"""clock_offset: a validator's clock is set 3 s ahead, and set back when undone."""

from __future__ import annotations

from testbed.faults.clocks import ClockFault


class ClockOffset(ClockFault):
    kind = "clock_offset"
    ahead_ms = 3_000
    least_seen_ms = 1_500
