"""kill: kill -9 of a validator; it loses whatever it had not made durable. Undone by starting it again."""

from __future__ import annotations

from testbed.faults.base import Fault, NotApplied


class Kill(Fault):
    kind = "kill"
    removes_power = True
    _height_before = -1

    def apply(self) -> None:
        health = self.cluster.get_health(self.node)
        if health is None or not self.cluster.is_running(self.node):
            raise NotApplied(f"{self.node} was not running")
        self._height_before = health["height"]
        self.cluster.kill(self.node)

    def verify(self) -> str:
        gone = self.cluster.wait_until(
            lambda: not self.cluster.is_running(self.node) and self.cluster.get_health(self.node) is None,
            f"{self.node} to be dead",
            self.timeout_ms,
        )
        if not gone:
            raise NotApplied(f"{self.node} still answers after kill -9")
        return f"{self.node} is dead and answers nothing; its last height was {self._height_before}"

    def undo(self) -> None:
        self.cluster.restart(self.node)
        back = self.cluster.wait_until(
            lambda: self.cluster.get_health(self.node) is not None,
            f"{self.node} to answer after its restart",
            self.timeout_ms,
        )
        if not back:
            raise NotApplied(f"{self.node} does not answer after its restart")

    def describe_effect(self) -> str:
        return f"a chain at height {self._height_before} lost a voter" if self._height_before > 0 else ""
