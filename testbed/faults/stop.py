"""stop: a validator is asked to end, and does. Undone by starting it again."""

from __future__ import annotations

from testbed.faults.kill import Kill


class Stop(Kill):
    kind = "stop"
    how = "being asked to end"

    def end(self) -> None:
        self.cluster.stop(self.node)
