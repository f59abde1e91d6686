"""heartbeat_stopped: a validator sends no more heartbeats, so the mesh shows it as offline; it goes on voting."""

from __future__ import annotations

from testbed.faults.base import Fault, NotApplied


class HeartbeatStopped(Fault):
    kind = "heartbeat_stopped"
    removes_power = False
    _was_active = False

    def apply(self) -> None:
        row = self.cluster.get_mesh_row(self.node)
        self._was_active = row is not None and row["status"] == "active"
        if not self._was_active:
            raise NotApplied(f"{self.node} was not active on the mesh: mesh says {row['status'] if row else 'nothing'}")
        self.cluster.control(self.node, "heartbeat", "off")

    def verify(self) -> str:
        if not self._wait_for_status("offline"):
            row = self.cluster.get_mesh_row(self.node) or {}
            raise NotApplied(
                f"{self.node} is still {row.get('status')} on the mesh, last heartbeat {row.get('last_heartbeat')}"
            )
        row = self.cluster.get_mesh_row(self.node) or {}
        return f"the mesh shows {self.node} as offline, last heartbeat {row.get('last_heartbeat')}"

    def undo(self) -> None:
        self.cluster.control(self.node, "heartbeat", "on")
        if not self._wait_for_status("active"):
            row = self.cluster.get_mesh_row(self.node) or {}
            raise NotApplied(f"{self.node} stays {row.get('status')} on the mesh after its heartbeat is on again")

    def describe_effect(self) -> str:
        return "the mesh took an active validator for offline" if self._was_active else ""

    def _wait_for_status(self, status: str) -> bool:
        def has_status() -> bool:
            row = self.cluster.get_mesh_row(self.node)
            return row is not None and row["status"] == status

        return self.cluster.wait_until(has_status, f"{self.node} to be {status} on the mesh", self.timeout_ms)
