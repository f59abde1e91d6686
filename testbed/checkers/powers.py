"""Voting powers by height, as the chain's own blocks say: evidence and changes count from two heights on.

Written out here once more: what is under test must not be what tests it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

    def note_block(self, facts: Mapping[str, Any]) -> None:
        """A final block as a validator answers it: its evidence, and the changes that the sovereign signed."""
        if facts["height"] != self._height + 1:
            return
        self._height = facts["height"]
        upcoming = dict(self._changes[-1][1])
        for item in facts["evidence"]:
            # The last validator stays, whatever it did: nobody else could go on.
            if len(upcoming) > 1:
                upcoming.pop(item["validator"], None)
        for body in facts["transactions"]:
            if body["type"] == "validator_change":
                change = body["contractInput"]
                upcoming.pop(change.get("replaces"), None)
                upcoming.pop(body["to"], None)
                if change["power"]:
                    upcoming[body["to"]] = change["power"]
        if upcoming != self._changes[-1][1]:
            self._changes.append((self._height + IN_FORCE_AFTER, upcoming))

    def at(self, height: int) -> Mapping[str, int]:
        """The powers that decide a height."""
        return next(powers for first, powers in reversed(self._changes) if first <= height)
