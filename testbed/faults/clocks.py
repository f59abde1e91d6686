"""What faults of clocks have in common: they are seen in the heartbeats, whose timestamps are held against the
mesh's clock. A heartbeat takes time to arrive, so a clock that is right is never seen ahead."""

from __future__ import annotations

from typing import ClassVar

from testbed.clock import write_clock
from testbed.faults.base import Fault


class ClockFault(Fault):
    """A validator reads a wrong time of day."""

    removes_power = False
    ahead_ms: ClassVar[int] = 0
    drift_ppm: ClassVar[int] = 0
    least_seen_ms: ClassVar[int]
    """The clock counts as wrong from here on."""
    _most_ms = 0

    def apply(self) -> None:
        self.get_height_before()
        self.cluster.control(self.node, "clock", write_clock(self.ahead_ms, self.drift_ppm))

    def verify(self) -> str:
        self.require(
            lambda: self._read() >= self.least_seen_ms,
            f"{self.node}'s heartbeats to come from the future",
            lambda: f"{self.node}'s heartbeats are {self._read()} ms ahead, not {self.least_seen_ms}",
        )
        return f"{self.node}'s last heartbeat came {self._read()} ms ahead of the mesh's clock"

    def undo(self) -> None:
        self.cluster.control(self.node, "clock", "")
        self.require(
            # Set back, a validator goes on from its last timestamp until true time has passed it.
            lambda: self._read() <= 0,
            f"{self.node}'s clock to be right",
            lambda: f"{self.node}'s heartbeats are still {self._read()} ms ahead after {self.kind}",
        )

    def describe_effect(self) -> str:
        self._read()
        return f"{self.node} voted with a clock that was {self._most_ms} ms ahead" if self._most_ms > 0 else ""

    def _read(self) -> int:
        """How far the last heartbeat was ahead of the mesh's clock when it arrived, in ms."""
        row = self.cluster.get_mesh_row(self.node)
        if row is None or row["last_heartbeat"] is None:
            return 0
        seen_ms = int(row["heartbeat_timestamp"] - row["last_heartbeat"])
        self._most_ms = max(self._most_ms, seen_ms)
        return seen_ms
