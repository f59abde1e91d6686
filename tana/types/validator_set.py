"""Validators, their voting power, quorum arithmetic and proposer rotation.

`Members` are who votes with what power; a `ValidatorSet` is members with their places in the proposer rotation, which
moves on with every height while the members stay.

Invariants of `Members`: 1. at least one validator; 2. sorted by public key, each key once;
3. every power is in 1..MAX_POWER; 4. total power at most MAX_TOTAL_POWER (so that priorities fit 63 bits).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from tana.types.errors import InvalidInput

MAX_TOTAL_POWER = 2**48
MAX_VALIDATORS = 256


@dataclass(frozen=True, slots=True)
class Validator:
    """One validator: 32-byte node key, voting power, and the name of its node."""

    public_key: bytes
    power: int
    node_id: str


class Members:
    """Who votes, and with what power. Immutable."""

    __slots__ = ("_hash", "by_key", "powers", "total_power", "validators")

    def __init__(self, validators: Sequence[Validator]) -> None:
        self.validators = tuple(validators)
        self.total_power = sum([item.power for item in self.validators])
        self.by_key = {item.public_key: item for item in self.validators}
        """The validators by public key, in the order of the keys."""
        self.powers = {item.public_key: item.power for item in self.validators}
        self._hash = b""

    @classmethod
    def create(cls, validators: Iterable[Validator]) -> Members:
        """Members in canonical order. Raises `InvalidInput` where an invariant does not hold."""
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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Members) and self.validators == other.validators

    def __hash__(self) -> int:
        return hash(self.validators)

    @property
    def hash(self) -> bytes:
        """32 bytes that a header commits to: keys, powers and node ids."""
        if not self._hash:
            rows = msgspec.msgpack.encode(self.to_rows())
            self._hash = hashlib.sha256(b"tana/validators/1" + rows).digest()
        return self._hash

    def to_rows(self) -> list[tuple[bytes, int, str]]:
        """Rows `(public key, power, node id)` for storage."""
        return [(item.public_key, item.power, item.node_id) for item in self.validators]

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[bytes, int, str]]) -> Members:
        return cls([Validator(key, power, node_id) for key, power, node_id in rows])


class ValidatorSet:
    """The validators of one height: members, and each one's priority in the proposer rotation. Immutable."""

    __slots__ = ("_proposers", "_rotation", "members", "priorities", "total_power", "validators")

    def __init__(self, members: Members, priorities: Sequence[int] = ()) -> None:
        self.members = members
        self.validators = members.validators
        self.priorities = tuple(priorities) or (0,) * len(members.validators)
        self.total_power = members.total_power
        self._proposers: list[Validator] = []
        self._rotation: list[tuple[int, ...]] = [self.priorities]
        """The priorities after each turn of `_proposers`, and before the first."""
        assert len(self.priorities) == len(self.validators)

    @classmethod
    def create(cls, validators: Iterable[Validator]) -> ValidatorSet:
        """A set at the start of its rotation. Raises `InvalidInput` where an invariant does not hold."""
        return cls(Members.create(validators))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValidatorSet):
            return NotImplemented
        return self.members == other.members and self.priorities == other.priorities

    def __hash__(self) -> int:
        return hash((self.members, self.priorities))

    def __repr__(self) -> str:
        return f"ValidatorSet({self.to_rows()!r})"

    def __len__(self) -> int:
        return len(self.validators)

    def get_power(self, public_key: bytes) -> int:
        """Voting power of a key, 0 for a key that is not in the set."""
        return self.members.powers.get(public_key, 0)

    def is_quorum(self, power: int) -> bool:
        """Whether `power` is strictly more than two thirds of the total (the paper's 2f + 1)."""
        return 3 * power > 2 * self.total_power

    def is_one_third(self, power: int) -> bool:
        """Whether `power` is at least one third: faulty power is less, so a correct validator is in it (f + 1)."""
        return 3 * power >= self.total_power

    @property
    def quorum_power(self) -> int:
        """The least power that is a quorum."""
        return 2 * self.total_power // 3 + 1

    @property
    def hash(self) -> bytes:
        """32 bytes that a header commits to: the members, not the priorities (the state covers those)."""
        return self.members.hash

    def advanced(self, steps: int = 1) -> ValidatorSet:
        """The set with its proposer rotation moved on by `steps` turns.

        One turn: everyone gains its power as priority, the highest (lowest key on a tie) proposes and pays the
        total. Over `total_power` turns each validator proposes exactly `power` times.
        """
        self._take_turns(steps)
        return ValidatorSet(self.members, self._rotation[steps])

    def changed(self, members: Members) -> ValidatorSet:
        """The set after a change of members, at the same point of the rotation.

        Who stays keeps its priority. A new key begins behind everyone, at −1.125 times the total power (Tendermint's
        rule): to leave and come back never wins a turn. Then priorities are drawn together to a spread of twice
        the total power and moved to a mean of zero, so that no series of changes makes them grow.
        """
        total = members.total_power
        known = dict(zip(self.members.powers, self.priorities, strict=True))
        priorities = [known.get(item.public_key, -(total + total // 8)) for item in members.validators]
        ratio = -(-(max(priorities) - min(priorities)) // (2 * total))
        if ratio > 1:
            priorities = [priority // ratio for priority in priorities]
        mean = sum(priorities) // len(priorities)
        return ValidatorSet(members, [priority - mean for priority in priorities])

    def get_proposer(self, round: int) -> Validator:
        """The proposer of a round (from 0) of the height that this set belongs to."""
        self._take_turns(round + 1)
        return self._proposers[round]

    def _take_turns(self, count: int) -> None:
        """Take the first turns of the rotation, where they have not been taken already."""
        while len(self._proposers) < count:
            raised = list(self._rotation[-1])
            chosen = 0
            for place, validator in enumerate(self.validators):
                raised[place] += validator.power
                # The first of equals stays, and the set is sorted by key: the tie rule of `advanced`.
                if raised[place] > raised[chosen]:
                    chosen = place
            raised[chosen] -= self.total_power
            self._proposers.append(self.validators[chosen])
            self._rotation.append(tuple(raised))

    def to_rows(self) -> list[tuple[bytes, int, str, int]]:
        """Rows `(public key, power, node id, priority)` for storage."""
        priorities = self.priorities
        return [
            (item.public_key, item.power, item.node_id, priorities[place]) for place, item in enumerate(self.validators)
        ]

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[bytes, int, str, int]]) -> ValidatorSet:
        return cls(Members.from_rows(row[:3] for row in rows), [row[3] for row in rows])
