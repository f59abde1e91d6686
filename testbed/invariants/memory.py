"""Memory: what a correct node holds of votes, proposals, blocks and early messages stays under a bound computed from n.

The bounds, for n validators and p peers, in round r (the first is 0):
votes        n · 2 kinds · 3 values · (r + 3): of the rounds up to its own and two ahead
proposals    r + 3: one of each round up to the next
blocks       16: eight, and what is locked, valid, proposed or just built
past         16 heights · 4 rounds · (4 n + 1): votes of decided heights, two values of each kind, and proposals
early        16 · p: of the next height, from each peer
evidence     64
mempool      the bytes that its settings allow
"""

from __future__ import annotations

from tana.node.machine import MachineGauges
from testbed.invariants.base import Invariant
from testbed.invariants.facts import NodeFacts
from testbed.needs import GAUGES

VALUES_MAX = 3
ROUNDS_AHEAD = 3
BLOCKS_MAX = 16
EARLY_MESSAGES_PER_PEER = 16
PAST_ROUNDS = 16 * 4
EVIDENCE_MAX = 64


class Memory(Invariant):
    number = 15
    name = "memory"
    needs = frozenset({GAUGES})

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._most: dict[str, int] = {}

    def on_gauges(self, node: NodeFacts, gauges: MachineGauges) -> None:
        self._count += 1
        for name, held, bound in list_bounds(gauges):
            if held > self._most.get(name, 0):
                self._most[name] = held
            if held > bound:
                where = f"{node.name} at height {node.height + 1} round {gauges.round}"
                self.violate(
                    f"{where} holds {held} {name} ≠ at most {bound}",
                    node.name,
                    height=node.height + 1,
                    held=held,
                    bound=bound,
                )

    def find_missing(self) -> str:
        return "" if self._count else "no correct node's gauges were read"

    def summarize(self) -> str:
        most = ", ".join(f"{count} {name}" for name, count in self._most.items())
        return f"within bounds in {self._count} looks; at most {most or 'nothing held'}"


def list_bounds(gauges: MachineGauges) -> tuple[tuple[str, int, int], ...]:
    """What is held, how much of it, and how much may be."""
    rounds = max(gauges.round, 0) + ROUNDS_AHEAD
    return (
        ("votes", gauges.votes, gauges.validators * 2 * VALUES_MAX * rounds),
        ("proposals", gauges.proposals, rounds),
        ("blocks", gauges.blocks, BLOCKS_MAX),
        ("past messages", gauges.past_messages, PAST_ROUNDS * (4 * gauges.validators + 1)),
        ("evidence", gauges.evidence, EVIDENCE_MAX),
        ("early messages", gauges.early_messages, EARLY_MESSAGES_PER_PEER * gauges.peers),
        ("mempool bytes", gauges.mempool_bytes, gauges.mempool_bytes_max),
    )
