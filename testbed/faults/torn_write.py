"""torn_write: the power fails while a validator writes its log; it cuts the torn write off and goes on by itself."""

from __future__ import annotations

from testbed.damage import TEAR, Harm
from testbed.faults.base import Fault, NotApplied

TORN = "sign_state_torn_tail_cut"
"""What a validator logs when it begins."""


class TornWrite(Fault):
    """It is over once it is applied: what it proves is that the chain goes on with the node that returned."""

    kind = "torn_write"
    removes_power = False
    _height_before = -1
    _harm: Harm

    def apply(self) -> None:
        self._height_before = self.get_height_before()
        self._logged = len(self.cluster.list_logged(self.node, TORN))
        self.cluster.kill(self.node)
        if self.cluster.is_running(self.node):
            raise NotApplied(f"{self.node} still runs after kill -9")
        self._harm = self.cluster.damage(self.node, TEAR)
        self.cluster.restart(self.node)
        self.wait_answer("its restart")

    def verify(self) -> str:
        self.require(
            lambda: len(self.cluster.list_logged(self.node, TORN)) > self._logged,
            f"{self.node} to say that its log ended in a torn write",
            f"{self.node} says nothing of the torn write in its log",
        )
        cut_bytes = self.cluster.list_logged(self.node, TORN)[-1]["bytes"]
        if cut_bytes != self._harm.size_bytes:
            raise NotApplied(f"{self.node} cut {cut_bytes} bytes off, and {self._harm.size_bytes} were torn")
        return f"{self.node} cut {cut_bytes} bytes of a torn write off its log, at byte {self._harm.at}"

    def undo(self) -> None:
        self.wait_answer("its restart")

    def describe_effect(self) -> str:
        return f"a voter of a chain at height {self._height_before} lost its power" if self._height_before > 0 else ""
