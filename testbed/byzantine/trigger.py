"""When a traitor lies: always, at heights, at rounds, with some probability, between two times, or several of these."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Trigger:
    """A lie is told where every condition given here holds; none given means always.

    Times are in ms since the genesis was made, which all nodes of a chain share. The probability is drawn once for each
    height and round, from the seed alone, so that a node which is restarted lies about the same rounds.
    """

    heights: tuple[int, ...] = ()
    rounds: tuple[int, ...] = ()
    probability: float = 1.0
    from_ms: int | None = None
    to_ms: int | None = None

    def is_on(self, seed: str, height: int, round: int, since_genesis_ms: int) -> bool:
        """Whether to lie about this height and round at this time."""
        if self.heights and height not in self.heights:
            return False
        if self.rounds and round not in self.rounds:
            return False
        if self.from_ms is not None and since_genesis_ms < self.from_ms:
            return False
        if self.to_ms is not None and since_genesis_ms >= self.to_ms:
            return False
        return self.probability >= 1 or _draw(seed, height, round) < self.probability

    @property
    def is_certain(self) -> bool:
        """Whether the lie is told at whatever height the chain is: only then can anything be promised of it."""
        return self == ALWAYS


@functools.lru_cache(maxsize=1024)
def _draw(seed: str, height: int, round: int) -> float:
    """Asked again for every message of a round."""
    return random.Random(f"{seed}/{height}/{round}").random()


ALWAYS = Trigger()
