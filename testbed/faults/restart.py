"""restart: a validator is asked to end and started again at once; with it back, nothing is missing."""

from __future__ import annotations

from testbed.faults.stop import Stop


class Restart(Stop):
    """It is over once it is applied: what it proves is that the chain goes on with the node that returned."""

    kind = "restart"
    removes_power = False
    _seen_gone = ""

    def apply(self) -> None:
        super().apply()
        self._seen_gone = super().verify()
        super().undo()

    def verify(self) -> str:
        health = self.cluster.get_health(self.node) or {}
        return f"{self._seen_gone}; it answers again at height {health.get('height')}"

    def undo(self) -> None:
        self.wait_answer("its restart")

    def describe_effect(self) -> str:
        return (
            f"a validator left and rejoined a chain at height {self._height_before}" if self._height_before > 0 else ""
        )
