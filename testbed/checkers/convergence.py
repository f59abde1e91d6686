"""Convergence: at the height pinned in the end every validator has the same block and the same state root."""

from __future__ import annotations

from testbed.checkers.base import Checker, shorten
from testbed.history import Event


class Convergence(Checker):
    name = "convergence"
    steps = frozenset({"converge"})

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int, dict[str, tuple[str, str]]] = {}
        self._height = 0

    def on_block(self, event: Event) -> None:
        answers = self._blocks.setdefault(event.data["height"], {})
        answers[event.node] = (event.data["hash"], event.data["state_root"])

    def on_convergence(self, event: Event) -> None:
        self._height = event.data["height"]

    def find_missing(self) -> str:
        if not self._height:
            return "no height was pinned"
        answers = self._blocks.get(self._height, {})
        silent = [node for node in self.node_ids if node not in answers]
        if silent:
            return f"no block at the pinned height {self._height} was answered by {', '.join(silent)}"
        first = self.node_ids[0]
        for node in self.node_ids[1:]:
            for what, ours, theirs in zip(("block", "state root"), answers[first], answers[node], strict=True):
                if ours != theirs:
                    self.violate(
                        f"{first} and {node} at height {self._height}: {what} {shorten(ours)} ≠ {shorten(theirs)}"
                    )
        return ""

    def summarize(self) -> str:
        block_hash, state_root = self._blocks[self._height][self.node_ids[0]]
        self.facts = {"height": self._height, "block_hash": block_hash, "state_root": state_root}
        count = len(self.node_ids)
        what = f"block {shorten(block_hash)}, state {shorten(state_root)}"
        return f"{count} of {count} validators at height {self._height}: {what}"
