"""sidecar_restarted: a member's Tailscale ends and starts again beside the running service, as the same node."""

from __future__ import annotations

from testbed.faults.sidecar_stopped import SidecarStopped
from testbed.faults.sidecars import describe_state, is_same_again


class SidecarRestarted(SidecarStopped):
    """It is over once it is applied: what it proves is that the chain goes on with the sidecar that returned."""

    kind = "sidecar_restarted"
    removes_power = False

    def apply(self) -> None:
        super().apply()
        self._check_stopped()
        self._start_again()

    def verify(self) -> str:
        before = self._identity
        return f"{self.node}'s sidecar was seen down, and is node {before.id} with {before.ip} again"

    def undo(self) -> None:
        containers = self.cluster.containers
        self.require(
            lambda: is_same_again(containers, self.node, self._identity),
            f"{self.node} to be on the tailnet",
            lambda: f"{self.node} is not on the tailnet: {describe_state(containers, self.node)}",
        )

    def _count_astray(self) -> int:
        return self._astray
