"""partition: packets between a member and its `peers` are dropped both ways; without `peers`, all other members."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.backends.base import MESH
from testbed.faults.base import Fault, NotApplied
from testbed.faults.firewall import DROP, Firewall
from testbed.faults.sidecars import read_status
from testbed.needs import CONTAINERS, TAILNET


class Partition(Fault):
    """Only packets between services are dropped: on a tailnet those between its addresses, whatever way they take.
    The host still reaches the member."""

    kind = "partition"
    removes_power = True
    needs = frozenset({CONTAINERS})
    takes_peers = True

    @classmethod
    def find_broken(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> frozenset[str]:
        """Validators relay: a node is cut off only where no other validator is left to it."""
        others = set(node_ids) - {node}
        return frozenset({node} if not peers or others <= set(peers) else ())

    def apply(self) -> None:
        self.get_height_before()
        others = (*(name for name in self.cluster.node_ids if name != self.node), MESH)
        self._from = self.peers or others
        addresses = [self._get_address(peer) for peer in self._from]
        rules = [(side, address, *DROP) for address in addresses for side in ("-s", "-d")]
        self._firewall = Firewall(self.cluster.containers, self.node, self.kind, rules)
        self._firewall.insert()

    def verify(self) -> str:
        self.require(
            lambda: self._firewall.count_dropped() > 0,
            f"{self.node} to drop packets",
            f"no packet between {self.node} and {', '.join(self._from)} came to be dropped",
        )
        return (
            f"{self._firewall.count_dropped()} packets between {self.node} and {', '.join(self._from)} dropped so far"
        )

    def undo(self) -> None:
        self._firewall.remove()

    def describe_effect(self) -> str:
        dropped = self._firewall.count_dropped()
        return f"{dropped} packets between {self.node} and {', '.join(self._from)} were dropped" if dropped else ""

    def _get_address(self, peer: str) -> str:
        containers = self.cluster.containers
        if containers.network != TAILNET:
            return containers.get_underlay_ip(peer)
        status = read_status(containers, self.node)
        found = status.find_peer(peer) if status else None
        if found is None or not found.ip:
            raise NotApplied(f"{self.node}'s sidecar does not know {peer}'s address")
        return found.ip
