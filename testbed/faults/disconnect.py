"""disconnect: a member is taken off the network that carries everything, its tailnet too. Undone by putting it back."""

from __future__ import annotations

from testbed.faults.base import Fault, NotApplied
from testbed.faults.firewall import list_underlay_addresses
from testbed.needs import CONTAINERS


class Disconnect(Fault):
    kind = "disconnect"
    removes_power = True
    needs = frozenset({CONTAINERS})
    _height_before = -1

    def apply(self) -> None:
        self._height_before = self.get_height_before()
        self.cluster.containers.disconnect(self.node)

    def verify(self) -> str:
        left = list_underlay_addresses(self.cluster.containers, self.node)
        if left:
            raise NotApplied(f"{self.node} still has {', '.join(left)} on the underlay")
        self.require(
            lambda: self.cluster.get_health(self.node) is None,
            f"{self.node} to be out of reach",
            f"{self.node} still answers although it has no address on the underlay",
        )
        return f"{self.node} has no address on the underlay and cannot be reached"

    def undo(self) -> None:
        containers = self.cluster.containers
        containers.connect(self.node)
        if not list_underlay_addresses(containers, self.node):
            raise NotApplied(f"{self.node} has no address on the underlay after it was connected again")
        self.wait_answer("being connected again")

    def describe_effect(self) -> str:
        return f"a chain at height {self._height_before} lost a connected voter" if self._height_before > 0 else ""
