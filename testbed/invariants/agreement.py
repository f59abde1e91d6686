"""Agreement: at each height every correct node commits the same block."""

from __future__ import annotations

from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import NodeFacts
from testbed.needs import STEPS


class Agreement(Invariant):
    number = 1
    name = "agreement"
    needs = frozenset({STEPS})

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        height = decision.height
        first = self.world.commits[height]
        if decision.block_hash != first.block_hash:
            ours, theirs = decision.block_hash.hex(), first.block_hash.hex()
            self.violate(
                f"{node.name} and {first.node} at height {height}: {ours[:8]}… (round {decision.round})"
                f" ≠ {theirs[:8]}… (round {first.certificate.round})",
                node.name,
                height=height,
                nodes=[node.name, first.node],
                blocks=[ours, theirs],
            )

    def find_missing(self) -> str:
        return "" if self.world.commits else "no correct node committed a block"

    def summarize(self) -> str:
        nodes = sum(node.is_correct for node in self.world.nodes.values())
        return f"one block at each of {len(self.world.commits)} heights on {nodes} correct nodes"
