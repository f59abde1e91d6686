"""Progress: wherever a quorum of the voting power was correct and connected, the chain went on."""

from __future__ import annotations

from testbed.checkers.base import Checker
from testbed.history import Event


class Progress(Checker):
    name = "progress"
    steps = frozenset({"progress", "perturb", "byzantine"})

    def __init__(self) -> None:
        super().__init__()
        self._heights: dict[str, int] = {}
        self._open: dict[str, tuple[str, dict[str, int], int]] = {}
        self._closed: list[str] = []

    def on_block(self, event: Event) -> None:
        self._heights[event.node] = max(event.data["height"], self._heights.get(event.node, 0))

    def on_health(self, event: Event) -> None:
        if event.data["state"] == "stopped":
            self.violate(f"{event.node} at height {event.data['height']}: it stopped: {event.data['reason']}")

    def on_expectation(self, event: Event) -> None:
        if event.data["progress"] != "must":
            return
        window = event.data["window"]
        if event.data["phase"] == "begin":
            start = {node: self._heights.get(node, 0) for node in event.data["nodes"]}
            self._open[window] = (event.data["why"], start, event.data["heights"])
            return
        why, start, wanted = self._open.pop(window)
        for node, first in start.items():
            gained = self._heights.get(node, 0) - first
            if gained < wanted:
                self.violate(f"{node} at height {first + gained}: {gained} new blocks ≠ {wanted} wanted ({why})")
        self._closed.append(window)

    def find_missing(self) -> str:
        if self._open:
            return f"the run ended before progress was shown: {', '.join(why for why, _, _ in self._open.values())}"
        return "" if self._closed else "the scenario never waited for progress"

    def summarize(self) -> str:
        self.facts = {"windows": list(self._closed), "heights": dict(self._heights)}
        return f"shown {len(self._closed)} times, up to height {max(self._heights.values())}"
