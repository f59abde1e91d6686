"""Faults by kind, one file each, behind one interface: apply, verify, undo."""

from __future__ import annotations

from testbed.faults.base import Fault
from testbed.faults.clock_drift import ClockDrift
from testbed.faults.clock_offset import ClockOffset
from testbed.faults.control_down import ControlDown
from testbed.faults.data_wiped import DataWiped
from testbed.faults.direct_path_blocked import DirectPathBlocked
from testbed.faults.disconnect import Disconnect
from testbed.faults.duplicate import Duplicate
from testbed.faults.half_open import HalfOpen
from testbed.faults.halves import Halves
from testbed.faults.heartbeat_stopped import HeartbeatStopped
from testbed.faults.jitter import Jitter
from testbed.faults.key_expired import KeyExpired
from testbed.faults.kill import Kill
from testbed.faults.latency import Latency
from testbed.faults.log_garbled import LogGarbled
from testbed.faults.loss import Loss
from testbed.faults.one_way import OneWay
from testbed.faults.partition import Partition
from testbed.faults.pause import Pause
from testbed.faults.policy_denied import PolicyDenied
from testbed.faults.rate import Rate
from testbed.faults.reorder import Reorder
from testbed.faults.reset import Reset
from testbed.faults.restart import Restart
from testbed.faults.ring import Ring
from testbed.faults.sidecar_restarted import SidecarRestarted
from testbed.faults.sidecar_stopped import SidecarStopped
from testbed.faults.sign_state_wiped import SignStateWiped
from testbed.faults.stop import Stop
from testbed.faults.tailscale_down import TailscaleDown
from testbed.faults.torn_write import TornWrite

__all__ = ["FAULTS", "Fault", "HeartbeatStopped", "Kill"]

FAULTS: dict[str, type[Fault]] = {
    fault.kind: fault
    for fault in (
        HeartbeatStopped,
        Kill,
        Stop,
        Restart,
        Pause,
        TornWrite,
        DataWiped,
        SignStateWiped,
        LogGarbled,
        Disconnect,
        Partition,
        Halves,
        Ring,
        OneWay,
        HalfOpen,
        Reset,
        Latency,
        Jitter,
        Rate,
        Loss,
        Duplicate,
        Reorder,
        ClockOffset,
        ClockDrift,
        SidecarStopped,
        SidecarRestarted,
        ControlDown,
        KeyExpired,
        DirectPathBlocked,
        TailscaleDown,
        PolicyDenied,
    )
}
