"""Evidence that waits for a block: verified, at most one for each validator, and no more than `MAX_HELD`."""

from __future__ import annotations

from collections.abc import Collection, Container

from tana.ledger.ledger import Ledger
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence

MAX_HELD = 64
"""Validators against whom evidence waits. What comes while it is full is found, or sent, again."""


class EvidencePool:
    """Evidence that the next block may hold. `len(pool)` counts it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._by_validator: dict[bytes, Evidence] = {}
        self.spared: Collection[bytes] = ()
        """Validators against whom nothing is taken in: none, but where a testbed makes a node lie."""

    def __len__(self) -> int:
        return len(self._by_validator)

    @property
    def accused(self) -> tuple[bytes, ...]:
        """The validators against whom there is evidence here, in order of arrival."""
        return tuple(self._by_validator)

    def add(self, evidence: Evidence) -> bool:
        """Take evidence in; False where there is some against this validator, or no room.

        Raises `InvalidInput` where the next block may not hold it. Costs at most two signature checks.
        """
        if evidence.validator in self._by_validator or evidence.validator in self.spared or len(self) >= MAX_HELD:
            return False
        self._ledger.check_evidence(evidence)
        self._by_validator[evidence.validator] = evidence
        return True

    def list_all(self) -> list[Evidence]:
        """Everything that may go into the next block."""
        return list(self._by_validator.values())

    def list_lacking(self, accused: Container[bytes], height: int) -> list[Evidence]:
        """What a peer that decides `height` can check, and has none of against these validators."""
        return [
            evidence
            for validator, evidence in self._by_validator.items()
            if validator not in accused and evidence.height <= height
        ]

    def on_commit(self) -> None:
        """Drop what the next block may no longer hold: committed, expired, or of a validator that is convicted."""
        for validator, evidence in list(self._by_validator.items()):
            try:
                self._ledger.check_offence(evidence)
            except InvalidInput:
                del self._by_validator[validator]
