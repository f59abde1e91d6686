"""data_wiped: a validator loses its blocks and its state, not its sign-state; it fetches them from its peers."""

from __future__ import annotations

from testbed.damage import WIPE_CHAIN
from testbed.faults.base import Fault, NotApplied

BEHIND = "chain_behind_sign_state"
"""What a validator logs when it begins with less than it has voted for."""


class DataWiped(Fault):
    """It is over once it is applied: what it proves is that the chain goes on with the node that returned."""

    kind = "data_wiped"
    removes_power = False
    _height_before = -1

    def apply(self) -> None:
        self._height_before = self.get_height_before()
        if self._height_before < 2:
            raise NotApplied(f"{self.node} had no block to lose but the one that it may still have in its log")
        self._logged = len(self.cluster.list_logged(self.node, BEHIND))
        self.cluster.stop(self.node)
        if self.cluster.is_running(self.node):
            raise NotApplied(f"{self.node} still runs after being asked to end")
        self.cluster.damage(self.node, WIPE_CHAIN)
        self.cluster.restart(self.node)

    def verify(self) -> str:
        self.require(
            lambda: len(self.cluster.list_logged(self.node, BEHIND)) > self._logged,
            f"{self.node} to say that its blocks are gone",
            f"{self.node} does not say that its blocks are gone",
        )
        facts = self.cluster.list_logged(self.node, BEHIND)[-1]
        if facts["height"]:
            raise NotApplied(f"{self.node} still began at height {facts['height']}")
        return f"{self.node} began before its first block, and knew that it had signed block {facts['signed_height']}"

    def undo(self) -> None:
        self.require(
            lambda: (self.cluster.get_health(self.node) or {}).get("height", 0) >= self._height_before,
            f"{self.node} to have its blocks again",
            f"{self.node} does not come back to height {self._height_before}, at which its data was wiped",
        )

    def describe_effect(self) -> str:
        return f"a validator lost {self._height_before} blocks" if self._height_before > 0 else ""
