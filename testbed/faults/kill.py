"""kill: kill -9 of a validator; it loses whatever it had not made durable. Undone by starting it again."""

from __future__ import annotations

from testbed.faults.base import Fault, NotApplied


class Kill(Fault):
    kind = "kill"
    removes_power = True
    how = "kill -9"
    _height_before = -1

    def end(self) -> None:
        self.cluster.kill(self.node)

    def apply(self) -> None:
        self._height_before = self.get_height_before()
        self.end()

    def verify(self) -> str:
        self.require(
            lambda: not self.cluster.is_running(self.node) and self.cluster.get_health(self.node) is None,
            f"{self.node} to be gone",
            f"{self.node} still answers after {self.how}",
        )
        if self.cluster.ask(self.node, "status", "GET", "/health").status:
            raise NotApplied(f"{self.node} does not run and its port still answers after {self.how}")
        return f"{self.node} is gone and answers nothing; its last height was {self._height_before}"

    def undo(self) -> None:
        self.cluster.restart(self.node)
        self.wait_answer("its restart")

    def describe_effect(self) -> str:
        return f"a chain at height {self._height_before} lost a voter" if self._height_before > 0 else ""
