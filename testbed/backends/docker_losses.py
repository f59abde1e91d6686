"""Loss between containers: every validator drops a share of the packets that it gets from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from testbed.backends.base import Containers
from testbed.backends.docker_cuts import find_address
from testbed.faults.firewall import DROP, LEAVE_ALONE, Firewall


class PacketLosses:
    """See `testbed.backends.base.Losses`. Raises `NotApplied` where a packet filter does not obey.

    From the first loss on each validator counts what it gets, so that it is seen when nothing is lost any more.
    """

    unit = "packets"

    def __init__(self, containers: Containers, node_ids: Sequence[str]) -> None:
        self._containers = containers
        self._node_ids = node_ids
        self._rate = 0.0
        self._walls: list[Firewall] = []
        self._number = 0
        self._past: Counter[str] = Counter()
        """Packets by what walls that are gone did to them."""

    def change_rate(self, kind: str, by: float) -> None:
        assert kind == "loss", f"packets cannot be made to meet {kind}"
        self._rate = round(self._rate + by, 6)
        for wall in self._walls:
            self._past += wall.count()
            wall.remove()
        self._walls = []
        for node in self._node_ids:
            self._number += 1
            rules = [rule for peer in self._node_ids if peer != node for rule in self._make_rules(node, peer)]
            wall = Firewall(self._containers, node, f"loss-{self._number}", rules, ["INPUT"])
            wall.insert()
            self._walls.append(wall)

    def count(self, what: str) -> int:
        packets = sum((wall.count() for wall in self._walls), self._past)
        return packets["DROP"] if what == "lost" else packets.total()

    def _make_rules(self, node: str, peer: str) -> list[tuple[str, ...]]:
        source = ("-s", find_address(self._containers, node, peer))
        some = ("-m", "statistic", "--mode", "random", "--probability", f"{self._rate:.6f}")
        return ([(*source, *some, *DROP)] if self._rate else []) + [(*source, *LEAVE_ALONE)]
