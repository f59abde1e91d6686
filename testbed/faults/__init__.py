"""Faults by kind, one file each, behind one interface: apply, verify, undo."""

from __future__ import annotations

from testbed.faults.base import Fault
from testbed.faults.control_down import ControlDown
from testbed.faults.direct_path_blocked import DirectPathBlocked
from testbed.faults.disconnect import Disconnect
from testbed.faults.heartbeat_stopped import HeartbeatStopped
from testbed.faults.key_expired import KeyExpired
from testbed.faults.kill import Kill
from testbed.faults.partition import Partition
from testbed.faults.pause import Pause
from testbed.faults.policy_denied import PolicyDenied
from testbed.faults.restart import Restart
from testbed.faults.sidecar_restarted import SidecarRestarted
from testbed.faults.sidecar_stopped import SidecarStopped
from testbed.faults.stop import Stop
from testbed.faults.tailscale_down import TailscaleDown

__all__ = ["FAULTS", "Fault", "HeartbeatStopped", "Kill"]

FAULTS: dict[str, type[Fault]] = {
    fault.kind: fault
    for fault in (
        HeartbeatStopped,
        Kill,
        Stop,
        Restart,
        Pause,
        Disconnect,
        Partition,
        SidecarStopped,
        SidecarRestarted,
        ControlDown,
        KeyExpired,
        DirectPathBlocked,
        TailscaleDown,
        PolicyDenied,
    )
}
