"""The adversary: it reads every message and holds back just the vote that would complete a quorum.

At most heights one node is spared: it sees the polka that all others miss, and is locked alone. At half of them another
gets the first proposal late, so that it prevotes nil and the others do not wait for its vote. What is held back
comes by no other way either: copies that peers send again, and whole quorums, wait as long. It is bounded: each vote is
held back once and for a set time, and a receiver at one height at most `HELD_PER_HEIGHT` times. So it costs rounds,
never liveness.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tana.types.messages import BlockPart, PeerMessage, Proposal, Vote, VoteQuorum
from tana.types.validator_set import ValidatorSet
from testbed.simulation.scheduler import Scheduler

HELD_PER_HEIGHT = 6
SPARING = 0.7
"""How likely a node is spared at a height."""
BLINDING = 0.5
"""How likely another one gets the first proposal late."""

_Value = tuple[bytes, int, int, bytes | None]
"""Receiver, round, kind and block of votes at the receiver's height."""


class Adversary:
    """An `Inspector` of the network. `get_validators` gives the set that a receiver (by key) decides with."""

    def __init__(
        self,
        scheduler: Scheduler,
        get_validators: Callable[[bytes], ValidatorSet | None],
        delay_ms: int,
        *,
        keys: tuple[bytes, ...],
        seed: str,
    ) -> None:
        self.is_active = True
        self._scheduler = scheduler
        self._get_validators = get_validators
        self._delay_ms = delay_ms
        self._keys = keys
        self._seed = seed
        self._spared: dict[int, tuple[bytes, bytes]] = {}
        """By height who is spared, and who gets the proposal late; empty for nobody."""
        self._blind_until_ms: dict[bytes, int] = {}
        self._heights: dict[bytes, int] = {}
        self._held: dict[bytes, int] = {}
        self._voters: dict[_Value, dict[bytes, int]] = {}
        """Who voted so, and with which power."""
        self._until_ms: dict[_Value, int] = {}
        """Until when the quorum of a value is held back."""
        self._kept: dict[_Value, bytes] = {}
        """Whose vote that is."""

    def __call__(self, source: bytes, target: bytes, message: PeerMessage) -> int:
        if not self.is_active or not isinstance(message, Vote | VoteQuorum | Proposal | BlockPart):
            return 0
        self._enter(target, message.height)
        if message.height != self._heights[target]:
            return 0
        spared, blinded = self._spared[message.height]
        if isinstance(message, Proposal | BlockPart):
            return self._hold_proposal(target) if target == blinded else 0
        if target == spared:
            return 0
        value = (target, message.round, message.kind, message.block_hash)
        until_ms = self._until_ms.get(value)
        if isinstance(message, VoteQuorum):
            return 0 if until_ms is None else max(until_ms - self._scheduler.now_ms, 0)
        if until_ms is not None and (
            message.validator == self._kept[value] or message.validator not in self._voters[value]
        ):
            return max(until_ms - self._scheduler.now_ms, 0)
        if not self._would_complete(value, message):
            return 0
        self._held[target] = self._held.get(target, 0) + 1
        self._until_ms[value] = self._scheduler.now_ms + self._delay_ms
        self._kept[value] = message.validator
        return self._delay_ms

    def _hold_proposal(self, target: bytes) -> int:
        """Whatever is proposed to it comes no sooner than `delay_ms` after the first that was sent."""
        now_ms = self._scheduler.now_ms
        return max(self._blind_until_ms.setdefault(target, now_ms + self._delay_ms) - now_ms, 0)

    def _enter(self, target: bytes, height: int) -> None:
        """The newest height of a receiver is the one that is watched."""
        if height <= self._heights.get(target, 0):
            return
        self._heights[target] = height
        self._forget(target)
        if height not in self._spared:
            draw = random.Random(f"{self._seed}/adversary/{height}")
            spared = draw.choice(self._keys) if draw.random() < SPARING else b""
            blinded = draw.choice(self._keys) if draw.random() < BLINDING else b""
            self._spared[height] = (spared, blinded if blinded != spared else b"")

    def _would_complete(self, value: _Value, vote: Vote) -> bool:
        target = value[0]
        validators = self._get_validators(target)
        if validators is None:
            return False
        voters = self._voters.setdefault(value, {})
        if vote.validator in voters:
            return False
        before = sum(voters.values()) + (0 if target in voters else validators.get_power(target))
        power = voters[vote.validator] = validators.get_power(vote.validator)
        completes = not validators.is_quorum(before) and validators.is_quorum(before + power)
        return completes and self._held.get(target, 0) < HELD_PER_HEIGHT

    def _forget(self, target: bytes) -> None:
        self._held.pop(target, None)
        self._blind_until_ms.pop(target, None)
        for value in [value for value in self._voters if value[0] == target]:
            del self._voters[value]
            self._until_ms.pop(value, None)
            self._kept.pop(value, None)
