"""sidecar_stopped: a member's Tailscale is asked to end, its service goes on alone. Undone by starting it again."""

from __future__ import annotations

from tana.node.tailscale import TailnetNode
from testbed.faults.base import Fault, NotApplied
from testbed.faults.firewall import Firewall, find_subnet, make_guard
from testbed.faults.sidecars import describe_state, get_identity, is_same_again, read_status
from testbed.needs import CONTAINERS, TAILNET


class SidecarStopped(Fault):
    kind = "sidecar_stopped"
    removes_power = True
    needs = frozenset({CONTAINERS, TAILNET})
    _identity: TailnetNode
    _guard: Firewall
    _height_before = -1
    _astray = 0

    def apply(self) -> None:
        containers = self.cluster.containers
        self._height_before = self.get_height_before()
        self._identity = get_identity(containers, self.node)
        self._guard = make_guard(containers, self.node, find_subnet(containers, self.node))
        self._guard.insert()
        containers.act(self.node, "sidecar", "stop")

    def verify(self) -> str:
        self._check_stopped()
        witness = next(name for name in self.cluster.node_ids if name != self.node)

        def is_offline() -> bool:
            status = read_status(self.cluster.containers, witness)
            peer = status.find_peer(self.node) if status else None
            return peer is not None and not peer.is_online

        self.require(
            is_offline,
            f"{witness} to miss {self.node} on the tailnet",
            f"{witness}'s sidecar still takes {self.node} for online",
        )
        return f"{self.node}'s sidecar does not run; {witness}'s says that {self.node} is offline"

    def undo(self) -> None:
        self._start_again()

    def describe_effect(self) -> str:
        if self._height_before <= 0:
            return ""
        astray = f"; {count} packets had no way but the default gateway" if (count := self._count_astray()) else ""
        return f"a chain at height {self._height_before} lost a voter's tailnet{astray}"

    def _check_stopped(self) -> None:
        if self.cluster.containers.is_up(self.node, "sidecar"):
            raise NotApplied(f"{self.node}'s sidecar still runs")

    def _start_again(self) -> None:
        containers = self.cluster.containers
        containers.act(self.node, "sidecar", "start")
        self.require(
            lambda: is_same_again(containers, self.node, self._identity),
            f"{self.node} to be on the tailnet again",
            lambda: f"{self.node} does not come back to the tailnet: {describe_state(containers, self.node)}",
        )
        self._astray = self._guard.count_dropped()
        self._guard.remove()

    def _count_astray(self) -> int:
        return self._guard.count_dropped()
