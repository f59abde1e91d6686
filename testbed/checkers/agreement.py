"""Agreement: at each height every validator has the same block."""

from __future__ import annotations

from testbed.checkers.base import Checker, shorten
from testbed.history import Event


class Agreement(Checker):
    name = "agreement"
    steps = frozenset({"genesis"})

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[int, tuple[str, str]] = {}
        self._nodes: set[str] = set()

    def on_block(self, event: Event) -> None:
        height, block_hash = event.data["height"], event.data["hash"]
        self._nodes.add(event.node)
        node, known = self._first.setdefault(height, (event.node, block_hash))
        if known != block_hash:
            self.violate(f"{node} and {event.node} at height {height}: {shorten(known)} ≠ {shorten(block_hash)}")

    def find_missing(self) -> str:
        silent = [node for node in self.node_ids if node not in self._nodes]
        return f"no block was answered by {', '.join(silent)}" if silent or not self._nodes else ""

    def summarize(self) -> str:
        self.facts = {"heights": len(self._first), "validators": len(self._nodes)}
        return f"one block at each of {len(self._first)} heights on {len(self._nodes)} validators"
