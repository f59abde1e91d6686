"""Validators, their voting power, quorum arithmetic and proposer rotation.

Invariants of a `ValidatorSet`: 1. at least one validator; 2. sorted by public key, each key once;
3. every power is in 1..MAX_POWER; 4. total power at most MAX_TOTAL_POWER (so that priorities fit 63 bits).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from tana.types.errors import InvalidInput

MAX_TOTAL_POWER = 2**48
MAX_VALIDATORS = 256


@dataclass(frozen=True, slots=True)
class Validator:
    """One validator: 32-byte node key, voting power, and priority in the proposer rotation."""

    public_key: bytes
    power: int
    node_id: str
    priority: int = 0


@dataclass(frozen=True)
class ValidatorSet:
    """The validators of one height."""

    validators: tuple[Validator, ...]

    @classmethod
    def create(cls, validators: Iterable[Validator]) -> ValidatorSet:
        """A set in canonical order. Raises `InvalidInput` where an invariant does not hold."""
        ordered = tuple(sorted(validators, key=lambda validator: validator.public_key))
        if not 1 <= len(ordered) <= MAX_VALIDATORS:
            raise InvalidInput(
                f"a validator set has 1 to {MAX_VALIDATORS} members, not {len(ordered)}", field="validators"
            )
        keys = [validator.public_key for validator in ordered]
        if len(set(keys)) != len(keys):
            raise InvalidInput("two validators have the same public key", field="validators")
        for validator in ordered:
            if not isinstance(validator.power, int) or validator.power < 1:
                raise InvalidInput(f"validator {validator.node_id} must have a power of at least 1", field="power")
        if sum(validator.power for validator in ordered) > MAX_TOTAL_POWER:
            raise InvalidInput(f"the total power is over {MAX_TOTAL_POWER}", field="power")
        return cls(ordered)

    def __len__(self) -> int:
        return len(self.validators)

    @functools.cached_property
    def total_power(self) -> int:
        return sum(validator.power for validator in self.validators)

    @functools.cached_property
    def _powers(self) -> dict[bytes, int]:
        return {validator.public_key: validator.power for validator in self.validators}

    def get_power(self, public_key: bytes) -> int:
        """Voting power of a key, 0 for a key that is not in the set."""
        return self._powers.get(public_key, 0)

    def is_quorum(self, power: int) -> bool:
        """Whether `power` is strictly more than two thirds of the total (the paper's 2f + 1)."""
        return 3 * power > 2 * self.total_power

    def is_one_third(self, power: int) -> bool:
        """Whether `power` is at least one third: faulty power is less, so a correct validator is in it (f + 1)."""
        return 3 * power >= self.total_power

    @functools.cached_property
    def quorum_power(self) -> int:
        """The least power that is a quorum."""
        return 2 * self.total_power // 3 + 1

    @functools.cached_property
    def hash(self) -> bytes:
        """32 bytes that a header commits to: keys, powers and node ids, not the priorities (the state covers those)."""
        rows = [(validator.public_key, validator.power, validator.node_id) for validator in self.validators]
        return hashlib.sha256(b"tana/validators/1" + msgspec.msgpack.encode(rows)).digest()

    def advanced(self, steps: int = 1) -> ValidatorSet:
        """The set with its proposer rotation moved on by `steps` turns.

        One turn: everyone gains its power as priority, the highest (lowest key on a tie) proposes and pays the
        total. Over `total_power` turns each validator proposes exactly `power` times.
        """
        current = self.validators
        for _ in range(steps):
            raised = [replace(validator, priority=validator.priority + validator.power) for validator in current]
            chosen = _highest_priority(raised)
            raised[chosen] = replace(raised[chosen], priority=raised[chosen].priority - self.total_power)
            current = tuple(raised)
        return ValidatorSet(current)

    @functools.lru_cache(maxsize=64)  # noqa: B019 - a set lives for a height and rounds ask again and again
    def get_proposer(self, round: int) -> Validator:
        """The proposer of a round (from 0) of the height that this set belongs to. Cost: O(n · round)."""
        ahead = self.advanced(round).validators
        return ahead[
            _highest_priority(
                [replace(validator, priority=validator.priority + validator.power) for validator in ahead]
            )
        ]

    def to_rows(self) -> list[tuple[bytes, int, str, int]]:
        """Rows `(public key, power, node id, priority)` for storage."""
        return [(item.public_key, item.power, item.node_id, item.priority) for item in self.validators]

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[bytes, int, str, int]]) -> ValidatorSet:
        return cls(tuple(Validator(key, power, node_id, priority) for key, power, node_id, priority in rows))


def _highest_priority(validators: list[Validator]) -> int:
    # max() keeps the first of equals, and the set is sorted by key: the tie rule of `advanced`.
    return max(range(len(validators)), key=lambda index: validators[index].priority)
