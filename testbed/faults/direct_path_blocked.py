"""direct_path_blocked: a member's direct paths are cut, so that all its traffic takes the control server's relay."""

from __future__ import annotations

from tana.node.tailscale import TailnetNode
from testbed.faults.base import Fault, NotApplied
from testbed.faults.firewall import DROP, Firewall
from testbed.faults.sidecars import read_status
from testbed.needs import CONTAINERS, TAILNET

WIREGUARD_PORT = 41641
"""The UDP port of every sidecar, see the Compose file."""


class DirectPathBlocked(Fault):
    """UDP from and to Tailscale's port is dropped, where the member is. The relay speaks TCP."""

    kind = "direct_path_blocked"
    removes_power = False
    needs = frozenset({CONTAINERS, TAILNET})
    _bytes_before = -1

    def apply(self) -> None:
        self.get_height_before()
        self.require(
            self._is_direct,
            f"{self.node} to have a direct path to every validator",
            lambda: f"{self.node} had no direct path to every validator: {self._describe_paths()}",
        )
        rules = [("-p", "udp", side, str(WIREGUARD_PORT), *DROP) for side in ("--sport", "--dport")]
        self._firewall = Firewall(self.cluster.containers, self.node, "direct", rules)
        self._firewall.insert()

    def verify(self) -> str:
        self.require(
            self._is_relayed,
            f"{self.node} to be relayed",
            lambda: f"{self.node} is not relayed: {self._describe_paths()}",
        )
        self._bytes_before = self._count_bytes()
        self.require(
            lambda: self._count_bytes() > self._bytes_before,
            f"{self.node} to receive through the relay",
            f"{self.node} receives nothing through the relay",
        )
        dropped = self._firewall.count_dropped()
        return f"{self._describe_paths()}; {dropped} packets of direct paths dropped so far"

    def undo(self) -> None:
        self._firewall.remove()
        self.require(
            self._is_direct,
            f"{self.node} to have direct paths again",
            lambda: f"{self.node} has no direct path again: {self._describe_paths()}",
        )

    def describe_effect(self) -> str:
        received = self._count_bytes() - self._bytes_before
        if self._bytes_before < 0 or received <= 0 or not self._is_relayed():
            return ""
        return f"{self.node} received {received} bytes from validators through the relay and none directly"

    def _list_peers(self) -> list[TailnetNode]:
        """The other validators as this node's sidecar sees them. Raises `NotApplied` where it knows not all."""
        status = read_status(self.cluster.containers, self.node)
        if status is None:
            return []
        others = [name for name in self.cluster.node_ids if name != self.node]
        found = [peer for name in others if (peer := status.find_peer(name)) is not None]
        if len(found) < len(others):
            raise NotApplied(f"{self.node}'s sidecar does not know every validator")
        return found

    def _is_direct(self) -> bool:
        peers = self._list_peers()
        return bool(peers) and all(peer.direct_address for peer in peers)

    def _is_relayed(self) -> bool:
        peers = self._list_peers()
        return bool(peers) and all(peer.relay and not peer.direct_address for peer in peers)

    def _count_bytes(self) -> int:
        return sum(peer.received_bytes for peer in self._list_peers())

    def _describe_paths(self) -> str:
        ways = [
            f"{peer.name} {f'directly at {peer.direct_address}' if peer.direct_address else f'by relay {peer.relay}'}"
            for peer in self._list_peers()
        ]
        return f"{self.node} reaches {', '.join(ways) or 'nobody'}"
