"""Parent links: each block a correct node commits follows the one before it, and no restart takes a height back."""

from __future__ import annotations

from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, NodeFacts
from testbed.needs import STEPS


class ParentLinks(Invariant):
    number = 2
    name = "parent_links"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._committed: dict[str, int] = {}
        """The last height that a node made durable, by node."""
        self._count = 0
        self._restarts = 0

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        self._restarts += begin.incarnation > 1
        committed = self._committed.get(node.name)
        if committed is not None and begin.height < committed:
            self.violate(
                f"{node.name} begins again at height {begin.height} ≠ height {committed}, which it had committed",
                node.name,
                height=committed,
            )
        known = self.world.get_hash(begin.height)
        if known and begin.block_hash and begin.block_hash != known:
            self.violate(
                f"{node.name} begins on block {begin.block_hash.hex()[:8]}… at height {begin.height}"
                f" ≠ {known.hex()[:8]}…, which was committed there",
                node.name,
                height=begin.height,
            )

    def on_wipe(self, node: NodeFacts) -> None:
        self._committed.pop(node.name, None)

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        header, height = decision.header, decision.height
        if height != node.height + 1:
            self.violate(
                f"{node.name} commits height {height} ≠ height {node.height + 1}, which is its next",
                node.name,
                height=height,
            )
        elif node.tip and header.parent != node.tip:
            self.violate(
                f"{node.name} at height {height}: parent {header.parent.hex()[:8]}…"
                f" ≠ {node.tip.hex()[:8]}…, the block it committed before",
                node.name,
                height=height,
            )
        elif height == 1 and self.world.chain_id and header.parent != self.world.chain_id:
            self.violate(f"{node.name} at height 1: the parent is not the chain id", node.name, height=1)
        before = self.world.commits.get(height - 1)
        if before is not None and header.time_ms <= before.time_ms:
            self.violate(
                f"{node.name} at height {height}: time {header.time_ms} ≤ {before.time_ms}, its parent's",
                node.name,
                height=height,
            )
        self._committed[node.name] = height
        self._count += 1

    def find_missing(self) -> str:
        return "" if self._count else "no correct node committed a block"

    def summarize(self) -> str:
        return f"{self._count} commits, each on its parent, across {self._restarts} restarts"
