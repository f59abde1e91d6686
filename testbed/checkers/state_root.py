"""State root: at each height every validator computed the same state."""

from __future__ import annotations

import re

from tana.crypto.keys import parse_public_key
from testbed.checkers.base import Checker, shorten
from testbed.history import Event

DIFFERENCE = re.compile(r"state root ours ([0-9a-f]{64}), block's ([0-9a-f]{64})")
"""How a validator says that it computed another state root than the proposer."""


class StateRoot(Checker):
    name = "state_root"
    steps = frozenset({"genesis"})

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[int, tuple[str, str]] = {}
        self._nodes: set[str] = set()
        self._names: dict[str, str] = {}

    def on_block(self, event: Event) -> None:
        self._compare(event.node, event.data["height"], event.data["state_root"])

    def on_health(self, event: Event) -> None:
        if event.data["height"] and event.data["state_root"]:
            self._compare(event.node, event.data["height"], event.data["state_root"])

    def on_run(self, event: Event) -> None:
        self._names = {parse_public_key(item["public_key"]).hex(): item["node_id"] for item in event.data["validators"]}

    def on_log(self, event: Event) -> None:
        # A validator that computed another root votes nil and says so: it never answers a block with that root.
        found = DIFFERENCE.search(str(event.data.get("reason", "")))
        if event.data["name"] == "prevote_nil" and found is not None:
            ours, theirs = found.groups()
            proposer = self._names.get(event.data["proposer"], "somebody unknown")
            if proposer in self.traitors:
                return
            self.violate(
                f"{event.node} and {proposer} at height {event.data['height']}: {shorten(ours)} ≠ {shorten(theirs)}"
                f" ({event.node} votes nil on the block that {proposer} proposed)"
            )

    def _compare(self, node: str, height: int, root: str) -> None:
        self._nodes.add(node)
        first, known = self._first.setdefault(height, (node, root))
        if known != root:
            self.violate(f"{first} and {node} at height {height}: {shorten(known)} ≠ {shorten(root)}")

    def find_missing(self) -> str:
        silent = [node for node in self.node_ids if node not in self._nodes]
        return f"no state root was answered by {', '.join(silent)}" if silent or not self._nodes else ""

    def summarize(self) -> str:
        self.facts = {"heights": len(self._first), "validators": len(self._nodes)}
        return f"equal at each of {len(self._first)} heights on {len(self._nodes)} validators"
