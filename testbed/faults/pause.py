"""pause: a validator stands still without ending: its links stay open, it says nothing. Undone by letting it go on."""

from __future__ import annotations

from testbed.faults.base import Fault, NotApplied


class Pause(Fault):
    kind = "pause"
    removes_power = True
    _height_before = -1

    def apply(self) -> None:
        self._height_before = self.get_height_before()
        self.cluster.pause(self.node)

    def verify(self) -> str:
        answer = self.cluster.ask(self.node, "status", "GET", "/health")
        if answer.status:
            raise NotApplied(f"{self.node} still answers although it is paused")
        return f"{self.node} is paused: {answer.body}; its last height was {self._height_before}"

    def undo(self) -> None:
        self.cluster.resume(self.node)
        self.wait_answer("its pause")

    def describe_effect(self) -> str:
        return f"a voter of a chain at height {self._height_before} stood still" if self._height_before > 0 else ""
