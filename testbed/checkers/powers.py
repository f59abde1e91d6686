"""Voting powers by height, as the chain's own blocks say: who is punished has none from two heights on.

Written out here once more: what is under test must not be what tests it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tana.types.genesis import Genesis

IN_FORCE_AFTER = 2
"""A block changes the powers of the height that is so many above it."""


class ChainPowers:
    """Powers by printed public key. Blocks are noted in order; each height counts once, whoever answers it."""

    def __init__(self) -> None:
        self._changes: list[tuple[int, dict[str, int]]] = []
        self._height = 0

    def begin(self, genesis: Genesis) -> None:
        self._changes = [(1, {item.publicKey: item.power for item in genesis.validators})]

    def note_block(self, height: int, offenders: Sequence[str]) -> None:
        """A final block and those against whom it holds evidence."""
        if height != self._height + 1:
            return
        self._height = height
        upcoming = {key: power for key, power in self._changes[-1][1].items() if key not in offenders}
        # The last validator stays, whatever it did: nobody else could go on.
        if upcoming and len(upcoming) < len(self._changes[-1][1]):
            self._changes.append((height + IN_FORCE_AFTER, upcoming))

    def at(self, height: int) -> Mapping[str, int]:
        """The powers that decide a height."""
        return next(powers for first, powers in reversed(self._changes) if first <= height)
