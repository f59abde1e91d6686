"""The adversary: it reads every message and holds back just the vote that would complete a quorum.

It is bounded: each vote is held back once and for a set time, and a receiver at one height at most `HELD_PER_HEIGHT`
times. So it costs rounds, never liveness.
"""

from __future__ import annotations

from collections.abc import Callable

from tana.types.messages import PeerMessage, Vote
from tana.types.validator_set import ValidatorSet

HELD_PER_HEIGHT = 6


class Adversary:
    """An `Inspector` of the network. `get_validators` gives the set that a receiver (by key) decides with."""

    def __init__(self, get_validators: Callable[[bytes], ValidatorSet | None], delay_ms: int) -> None:
        self.is_active = True
        self._get_validators = get_validators
        self._delay_ms = delay_ms
        self._heights: dict[bytes, int] = {}
        self._held: dict[bytes, int] = {}
        self._voters: dict[tuple[bytes, int, int, bytes | None], dict[bytes, int]] = {}
        """By receiver, round, kind and value: who voted so, and with which power."""

    def __call__(self, source: bytes, target: bytes, message: PeerMessage) -> int:
        if type(message) is not Vote or not self.is_active:
            return 0
        if self._heights.get(target, 0) != message.height:
            if message.height < self._heights.get(target, 0):
                return 0
            self._forget(target)
            self._heights[target] = message.height
        validators = self._get_validators(target)
        if validators is None:
            return 0
        voters = self._voters.setdefault((target, message.round, message.kind, message.block_hash), {})
        if message.validator in voters:
            return 0
        before = sum(voters.values())
        power = voters[message.validator] = validators.get_power(message.validator)
        own = validators.get_power(target)
        completes = not validators.is_quorum(before + own) and validators.is_quorum(before + own + power)
        if not completes or self._held.get(target, 0) >= HELD_PER_HEIGHT:
            return 0
        self._held[target] = self._held.get(target, 0) + 1
        return self._delay_ms

    def _forget(self, target: bytes) -> None:
        self._held.pop(target, None)
        for key in [key for key in self._voters if key[0] == target]:
            del self._voters[key]
