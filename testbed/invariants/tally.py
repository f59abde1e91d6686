"""The power of validators that said the same, each counted once."""

from __future__ import annotations


class Tally:
    __slots__ = ("_voters", "power")

    def __init__(self) -> None:
        self.power = 0
        self._voters: set[bytes] = set()

    def add(self, validator: bytes, power: int) -> None:
        if validator not in self._voters:
            self._voters.add(validator)
            self.power += power
