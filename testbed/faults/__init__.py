"""Faults by kind, one file each, behind one interface: apply, verify, undo."""

from __future__ import annotations

from testbed.faults.base import Fault
from testbed.faults.heartbeat_stopped import HeartbeatStopped
from testbed.faults.kill import Kill

__all__ = ["FAULTS", "Fault", "HeartbeatStopped", "Kill"]

FAULTS: dict[str, type[Fault]] = {fault.kind: fault for fault in (HeartbeatStopped, Kill)}
