"""Validator sets: every correct node decides a height with the set, powers and turns that the chain itself gives it."""

from __future__ import annotations

import hashlib

import msgspec

from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, NodeFacts, SetFacts
from testbed.invariants.statements import Statement
from testbed.needs import STEPS

VALIDATORS_ROW = b"validators"


class ValidatorSets(Invariant):
    number = 14
    name = "validator_sets"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._compared = 0
        self._hash: tuple[dict[bytes, int], bytes] = ({}, b"")

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        known = self.world.sets[begin.height + 1]
        own = SetFacts.read(begin.validators)
        self._compared += 1
        if own.rows != known.rows or own.names != known.names:
            self._violate(node, begin.height + 1, "begins with", own.describe_rows(), known.describe_rows())

    def on_signed(self, node: NodeFacts, statement: Statement) -> None:
        known = self.world.sets.get(statement.height)
        if known is not None and node.key not in known.powers:
            self.violate(
                f"{node.name} at height {statement.height} signs in round {statement.round}"
                f" ≠ the set that decides it, {known.describe_rows()}, in which its key is not",
                node.name,
                height=statement.height,
                round=statement.round,
            )

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        self._compared += 1
        self._judge_claim(node, decision.height, decision.header.validators_hash)
        self._judge_claim(node, decision.height + 1, decision.header.next_validators_hash)

    def _judge_claim(self, node: NodeFacts, height: int, claimed: bytes) -> None:
        """Whether a header says the right set of a height."""
        known = self.world.sets.get(height)
        if known is not None and claimed != self._compute_hash(known):
            self._violate(node, height, "commits a block that says set", f"{claimed.hex()[:8]}…", known.describe_rows())

    def on_final(self, node: NodeFacts, decision: Decision) -> None:
        known = self.world.sets.get(decision.height + 1)
        row: bytes | None = None
        for key, value in decision.execution.changes:
            if key == VALIDATORS_ROW:
                row = value
        if known is None or row is None:
            return
        rows = tuple([(key, power, priority) for key, power, _, priority in _rows_decoder.decode(row)])
        if rows != known.rows:
            claimed = SetFacts(rows, known.names)
            self._violate(node, decision.height + 1, "computes", claimed.describe_rows(), known.describe_rows())

    def _compute_hash(self, validators: SetFacts) -> bytes:
        """What a header must say of a set; remembered while nobody joins, leaves or changes."""
        powers, known = self._hash
        if powers is not validators.powers:
            rows = [(key, power, validators.names[key]) for key, power, _ in validators.rows]
            known = hashlib.sha256(b"tana/validators/1" + msgspec.msgpack.encode(rows)).digest()
            self._hash = (validators.powers, known)
        return known

    def _violate(self, node: NodeFacts, height: int, verb: str, ours: str, theirs: str) -> None:
        self.violate(
            f"{node.name} for height {height} {verb} {ours} ≠ {theirs}, which the chain gives", node.name, height=height
        )

    def find_missing(self) -> str:
        return "" if self.world.commits else "no correct node committed a block"

    def summarize(self) -> str:
        changes = sum(1 for height, known in self.world.sets.items() if self._is_changed(height, known))
        return f"{self._compared} sets compared, {changes} changes of the set"

    def _is_changed(self, height: int, known: SetFacts) -> bool:
        before = self.world.sets.get(height - 1)
        return before is not None and before.powers != known.powers


_rows_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, int, str, int]])
