"""The votes of one height: power sums by round, kind and block, kept as they arrive.

Theory of operation. Every vote in here had its signature verified. Sums are running totals, so every question of the
protocol costs O(1). An equivocator (two votes of one kind in one round) is counted once where the question is "anything
at all", and under each of its values where the question is about a value: that is the paper's message log, which holds
all messages, and quorum intersection allows for it.

Memory is bounded: two values per validator, round and kind (a third only where others with a third of the power
back it, so that a correct polka can always be seen), and per validator votes of at most `MAX_FUTURE_ROUNDS`
rounds ahead of ours, the highest ones: those are what moves a laggard on (L55).
"""

from __future__ import annotations

from collections.abc import Iterator

from tana.types.messages import PRECOMMIT, PREVOTE, Vote
from tana.types.validator_set import ValidatorSet

MAX_FUTURE_ROUNDS = 2
_MAX_VALUES = 2


class VoteTally:
    """The votes of one round and kind."""

    def __init__(self, validators: ValidatorSet) -> None:
        self._validators = validators
        self._votes: dict[bytes, tuple[Vote, ...]] = {}
        self._power_of: dict[bytes | None, int] = {}
        self.power = 0
        """Power of all validators that voted, each once."""

    def add(self, vote: Vote) -> bool:
        """Count a vote; False where it is here already or over the bound."""
        earlier = self._votes.get(vote.validator, ())
        if any(known.block_hash == vote.block_hash for known in earlier):
            return False
        backing = self._power_of.get(vote.block_hash, 0)
        if len(earlier) >= _MAX_VALUES and not self._validators.is_one_third(backing):
            return False
        power = self._validators.get_power(vote.validator)
        self._votes[vote.validator] = (*earlier, vote)
        self._power_of[vote.block_hash] = backing + power
        if not earlier:
            self.power += power
        return True

    def remove_validator(self, validator: bytes) -> None:
        """Forget a validator's votes (see `HeightVotes`: only for rounds ahead of ours)."""
        power = self._validators.get_power(validator)
        dropped = self._votes.pop(validator, ())
        for vote in dropped:
            self._power_of[vote.block_hash] -= power
        if dropped:
            self.power -= power

    def holds(self, vote: Vote) -> bool:
        return any(known.block_hash == vote.block_hash for known in self._votes.get(vote.validator, ()))

    def get(self, validator: bytes) -> tuple[Vote, ...]:
        return self._votes.get(validator, ())

    def power_for(self, block_hash: bytes | None) -> int:
        return self._power_of.get(block_hash, 0)

    def find_quorum(self) -> tuple[bool, bytes | None]:
        """`(True, hash or None for nil)` where one value has a quorum, else `(False, None)`."""
        for block_hash, power in self._power_of.items():
            if self._validators.is_quorum(power):
                return True, block_hash
        return False, None

    def has_any_quorum(self) -> bool:
        """2f + 1 votes for anything."""
        return self._validators.is_quorum(self.power)

    def mask(self) -> bytes:
        """Bit i (least significant first) says whether validator i of the set has voted."""
        bits = 0
        for index, validator in enumerate(self._validators.validators):
            if validator.public_key in self._votes:
                bits |= 1 << index
        return bits.to_bytes((len(self._validators) + 7) // 8, "little")

    def select(self, block_hash: bytes | None) -> Iterator[Vote]:
        """The votes for one value, in the set's order."""
        for validator in self._validators.validators:
            for vote in self._votes.get(validator.public_key, ()):
                if vote.block_hash == block_hash:
                    yield vote

    def missing_from(self, mask: bytes) -> Iterator[Vote]:
        """The votes of validators whose bit is not set in a peer's mask, in the set's order."""
        bits = int.from_bytes(mask, "little")
        for index, validator in enumerate(self._validators.validators):
            if not bits >> index & 1:
                yield from self._votes.get(validator.public_key, ())


class HeightVotes:
    """The tallies of every round of one height."""

    def __init__(self, validators: ValidatorSet) -> None:
        self._validators = validators
        self._tallies: dict[tuple[int, int], VoteTally] = {}
        self._future_rounds: dict[bytes, list[int]] = {}
        self._empty = VoteTally(validators)
        self.decision: tuple[int, bytes] | None = None
        """The first round whose precommits for one block became a quorum, with that block's hash (L49)."""

    def get(self, round: int, kind: int) -> VoteTally:
        """The tally of a round and kind; an empty one where no vote has come."""
        return self._tallies.get((round, kind), self._empty)

    def holds(self, vote: Vote) -> bool:
        return self.get(vote.round, vote.kind).holds(vote)

    def add(self, vote: Vote, current_round: int) -> bool:
        """Count a verified vote; False where it is known already or over the bounds above."""
        if vote.round > current_round and not self._admit_future(vote, current_round):
            return False
        key = (vote.round, vote.kind)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = VoteTally(self._validators)
        if not tally.add(vote):
            return False
        is_for_block = vote.kind == PRECOMMIT and vote.block_hash is not None
        if is_for_block and self.decision is None and self._validators.is_quorum(tally.power_for(vote.block_hash)):
            assert vote.block_hash is not None
            self.decision = (vote.round, vote.block_hash)
        return True

    def find_equivocation(self, vote: Vote) -> Vote | None:
        """Another vote by the same validator for the same round and kind with another value."""
        for known in self.get(vote.round, vote.kind).get(vote.validator):
            if known.block_hash != vote.block_hash:
                return known
        return None

    def find_skip_round(self, current_round: int) -> int | None:
        """The highest round above ours that validators with a third of the power have reached (L55).

        The paper asks for f + 1 messages of one round. Counting a validator that is further on as well is as safe
        (one of them is correct, so a correct validator is there) and lets a node that was away for long catch up.
        """
        reached = [
            (max(rounds), self._validators.get_power(validator))
            for validator, rounds in self._future_rounds.items()
            if rounds and max(rounds) > current_round
        ]
        power = 0
        for round, validator_power in sorted(reached, reverse=True):
            power += validator_power
            if self._validators.is_one_third(power):
                return round
        return None

    def enter_round(self, round: int) -> None:
        """Rounds up to this one are no longer ahead: their votes stay."""
        for validator, rounds in self._future_rounds.items():
            self._future_rounds[validator] = [ahead for ahead in rounds if ahead > round]

    def rounds(self) -> list[int]:
        """Every round with a vote, ascending."""
        return sorted({round for round, _ in self._tallies})

    def count(self) -> int:
        """How many votes are held (a gauge for the bound of invariant 15)."""
        return sum(
            len(tally.get(validator.public_key))
            for tally in self._tallies.values()
            for validator in self._validators.validators
        )

    def _admit_future(self, vote: Vote, current_round: int) -> bool:
        rounds = self._future_rounds.setdefault(vote.validator, [])
        rounds[:] = [ahead for ahead in rounds if ahead > current_round]
        if vote.round in rounds:
            return True
        if len(rounds) >= MAX_FUTURE_ROUNDS:
            lowest = min(rounds)
            if vote.round < lowest:
                return False
            rounds.remove(lowest)
            for kind in (PREVOTE, PRECOMMIT):
                tally = self._tallies.get((lowest, kind))
                if tally is not None:
                    tally.remove_validator(vote.validator)
        rounds.append(vote.round)
        return True
