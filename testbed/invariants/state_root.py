"""State root: every correct node computes the same state at a height, also after sync and after a restart.

A node that stops because it finds a certified block invalid says that it computes another one.
From time to time the root is computed again from all rows of the state, by the definition and not by the node's code.
"""

from __future__ import annotations

import hashlib

from tana.ledger.genesis_rows import build_genesis_rows
from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, NodeFacts
from testbed.needs import STEPS

HEIGHTS_BETWEEN = 16
"""Heights from one computation of the whole tree to the next: it costs a hash or two per row."""
BUCKET_ENTRIES = 32

Entries = list[tuple[str, bytes]]
"""Path of a row as 64 hexadecimal digits, and its 64-byte entry."""


class StateRoot(Invariant):
    number = 10
    name = "state_root"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[bytes, bytes] | None = None
        self._compared = 0
        self._computed = 0

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        if self._rows is None and begin.height == 0 and begin.genesis is not None and not self.world.commits:
            self._rows = dict(build_genesis_rows(begin.genesis))
        known = self.world.commits.get(begin.height)
        if known is None or not begin.state_root:
            return
        self._compared += 1
        if begin.state_root != known.state_root:
            self._violate(node, begin.height, begin.state_root, known.state_root, f"which {known.node} computed")

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        height, root = decision.height, decision.state_root
        first = self.world.commits[height]
        self._compared += 1
        if root != first.state_root:
            self._violate(node, height, root, first.state_root, f"which {first.node} computed")
        elif root != decision.header.state_root:
            self._violate(node, height, root, decision.header.state_root, "which the block says")

    def on_halt(self, node: NodeFacts, reason: str) -> None:
        # What a quorum certified and this node finds invalid: one of them computes another state.
        self.violate(f"{node.name} after height {node.height} stops: {reason}", node.name, height=node.height + 1)

    def on_final(self, node: NodeFacts, decision: Decision) -> None:
        if self._rows is None:
            return
        for key, value in decision.execution.changes:
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value
        height = decision.height
        if height % HEIGHTS_BETWEEN == 1:
            self._computed += 1
            root = compute_root(self._rows)
            if root != decision.state_root:
                self._violate(node, height, decision.state_root, root, "which all its rows together have")

    def _violate(self, node: NodeFacts, height: int, ours: bytes, theirs: bytes, whose: str) -> None:
        self.violate(
            f"{node.name} at height {height} has state root {ours.hex()[:8]}… ≠ {theirs.hex()[:8]}…, {whose}",
            node.name,
            height=height,
            roots=[ours.hex(), theirs.hex()],
        )

    def find_missing(self) -> str:
        return "" if self._compared else "no correct node committed a block"

    def summarize(self) -> str:
        return f"{self._compared} roots compared, {self._computed} computed from all rows"


def compute_root(rows: dict[bytes, bytes]) -> bytes:
    """The root of the state's tree, from its definition (docs/adr/0006): radix 16 over SHA-256 of the key."""
    entries = [
        (path.hex(), path + hashlib.sha256(value).digest())
        for path, value in ((hashlib.sha256(key).digest(), value) for key, value in rows.items())
    ]
    return _compute_subtree(sorted(entries), 0)


def _compute_subtree(entries: Entries, depth: int) -> bytes:
    if len(entries) <= BUCKET_ENTRIES:
        return hashlib.sha256(b"\0" + b"".join(entry for _, entry in entries)).digest()
    children: list[Entries] = [[] for _ in range(16)]
    for item in entries:
        children[int(item[0][depth], 16)].append(item)
    return hashlib.sha256(b"\1" + b"".join(_compute_subtree(child, depth + 1) for child in children)).digest()
