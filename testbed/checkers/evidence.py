"""Evidence: blocks accuse only validators that lied, each once for an offence, and every one that had to be caught."""

from __future__ import annotations

from testbed.checkers.base import Checker, join_names, shorten
from testbed.history import Event


class Evidence(Checker):
    name = "evidence"
    steps = frozenset({"byzantine"})

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, str] = {}
        self._guilty: dict[str, str] = {}
        """Who had to be caught, and why."""
        self._accused: dict[str, dict[str, dict[tuple[str, int], int]]] = {}
        """By the node that answers: the accused, with each offence and the height of the block that proves it."""

    def on_run(self, event: Event) -> None:
        self._names = {item["public_key"]: item["node_id"] for item in event.data["validators"]}

    def on_guilt(self, event: Event) -> None:
        self._guilty |= dict.fromkeys(event.data["nodes"], event.data["why"])

    @property
    def is_asked(self) -> bool:
        return bool(self._guilty)

    def on_block(self, event: Event) -> None:
        height = event.data["height"]
        accused = self._accused.setdefault(event.node, {})
        if height == 1:
            # A validator that was restarted is read again from its first block.
            accused.clear()
        for item in event.data["evidence"]:
            name = self._names.get(item["validator"], shorten(item["validator"]))
            offence = (item["validator"], item["height"])
            words = f"{event.node} at height {height}: evidence of a double {item['kind']} at height {item['height']}"
            if name not in self.traitors:
                self.violate(f"{words} accuses {name} ≠ a validator that lied")
            earlier = accused.setdefault(name, {}).setdefault(offence, height)
            if earlier != height:
                self.violate(f"{words} accuses {name} again ≠ once, at height {earlier}")

    def find_missing(self) -> str:
        for node, accused in sorted(self._accused.items()):
            for name, why in self._guilty.items():
                if name not in accused:
                    self.violate(f"{node}: no block accuses {name} ≠ evidence, which had to be there: {why}")
        return "" if self._guilty else "no lie had to leave evidence"

    def summarize(self) -> str:
        return f"against {join_names(sorted(self._guilty))}, and nobody else but liars"
