"""The votes of one height: power sums by round, kind and block, kept as they arrive.

Theory of operation. Every vote in here had its signature verified. Sums are running totals, so every question of the
protocol costs O(1). An equivocator (two votes of one kind in one round) is counted once where the question is "anything
at all", and under each of its values where the question is about a value: that is the paper's message log, which holds
all messages, and quorum intersection allows for it.

Memory is bounded: two values per validator, round and kind (a third only where others with a third of the power
back it, so that a correct polka can always be seen), and per validator votes of at most `MAX_FUTURE_ROUNDS`
rounds ahead of ours, the highest ones: those are what moves a laggard on (L55).

What a tally holds is told to peers as *tags*, four bytes for each validator of the set: none, nil, the beginning of
the block's hash, or two values. A peer that holds another value sends it, so a validator that tells each half of the
network another value is found out by both.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final

from tana.types.messages import PRECOMMIT, PREVOTE, Proposal, Vote
from tana.types.validator_set import ValidatorSet

MAX_FUTURE_ROUNDS: Final = 2
_MAX_VALUES: Final = 2

TAG_BYTES: Final = 4
TAG_NONE: Final = b"\0\0\0\0"
TAG_NIL: Final = b"\0\0\0\1"
TAG_TWO: Final = b"\xff\xff\xff\xff"
"""This validator is an equivocator, and the announcer knows."""


class VoteTally:
    """The votes of one round and kind."""

    def __init__(self, validators: ValidatorSet) -> None:
        self._validators = validators
        self._votes: dict[bytes, tuple[Vote, ...]] = {}
        self._power_of: dict[bytes | None, int] = {}
        self._tags: bytes | None = None
        self.power = 0
        """Power of all validators that voted, each once."""
        self.count = 0
        """How many votes are held."""
        self._quorum: tuple[bool, bytes | None] = (False, None)

    def add(self, vote: Vote) -> bool:
        """Count a vote; False where it is here already or over the bound."""
        validator, block_hash = vote.validator, vote.block_hash
        earlier = self._votes.get(validator, ())
        if earlier and (self.holds(vote) or self.is_over_bound(vote)):
            return False
        power = self._validators.get_power(validator)
        backing = self._power_of.get(block_hash, 0) + power
        self._votes[validator] = (*earlier, vote) if earlier else (vote,)
        self._power_of[block_hash] = backing
        if not self._quorum[0] and self._validators.is_quorum(backing):
            self._quorum = (True, block_hash)
        self.count += 1
        if not earlier:
            self.power += power
        self._tags = None
        return True

    def is_over_bound(self, vote: Vote) -> bool:
        """Whether its validator has two other values here and no more than a third of the power backs this one."""
        if len(self._votes.get(vote.validator, ())) < _MAX_VALUES:
            return False
        return not self._validators.is_one_third(self._power_of.get(vote.block_hash, 0))

    def is_member(self, validator: bytes) -> bool:
        """Whether a key may vote here at all."""
        return self._validators.get_power(validator) > 0

    def remove_validator(self, validator: bytes) -> None:
        """Forget a validator's votes (see `HeightVotes`: only for rounds ahead of ours, and of past heights)."""
        power = self._validators.get_power(validator)
        dropped = self._votes.pop(validator, ())
        for vote in dropped:
            self._power_of[vote.block_hash] -= power
        self.count -= len(dropped)
        if dropped:
            self.power -= power
            self._tags = None
            found = [value for value, power in self._power_of.items() if self._validators.is_quorum(power)]
            self._quorum = (True, found[0]) if found else (False, None)

    def holds(self, vote: Vote) -> bool:
        return any(known.block_hash == vote.block_hash for known in self._votes.get(vote.validator, ()))

    def get(self, validator: bytes) -> tuple[Vote, ...]:
        return self._votes.get(validator, ())

    def power_for(self, block_hash: bytes | None) -> int:
        return self._power_of.get(block_hash, 0)

    def find_quorum(self) -> tuple[bool, bytes | None]:
        """`(True, hash or None for nil)` where one value has a quorum, the first to get it, else `(False, None)`."""
        return self._quorum

    def find_backed(self) -> list[bytes]:
        """The blocks with a third of the power."""
        powers = self._power_of.items()
        return [value for value, power in powers if value is not None and self._validators.is_one_third(power)]

    def has_any_quorum(self) -> bool:
        """2f + 1 votes for anything."""
        return self._validators.is_quorum(self.power)

    @property
    def tags(self) -> bytes:
        """What each validator of the set voted, as far as we know: its tag, in the set's order."""
        if self._tags is None:
            self._tags = b"".join([self._compute_tag(item.public_key) for item in self._validators.validators])
        return self._tags

    def select(self, block_hash: bytes | None) -> Iterator[Vote]:
        """The votes for one value, in the set's order."""
        for validator in self._validators.validators:
            for vote in self._votes.get(validator.public_key, ()):
                if vote.block_hash == block_hash:
                    yield vote

    def lacking_from(self, tags: bytes) -> list[Vote]:
        """The votes that a peer with these tags does not hold, in the set's order.

        Of a validator of which the peer holds two values already, none: see `VoteQuorum`.
        """
        if tags == self.tags:
            return []
        return [
            vote
            for validator, ours, theirs in self._compare(tags)
            if theirs != TAG_TWO and ours != TAG_NONE
            for vote in self._votes[validator]
            if compute_vote_tag(vote) != theirs
        ]

    def conflicting_with(self, tags: bytes) -> list[Vote]:
        """The votes of validators that told a peer with these tags something else, in the set's order."""
        if tags == self.tags:
            return []
        return [
            vote
            for validator, ours, theirs in self._compare(tags)
            if TAG_NONE not in (ours, theirs) and TAG_TWO not in (ours, theirs)
            for vote in self._votes[validator]
        ]

    def _compare(self, tags: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Each validator for which our tag is not the peer's, with both."""
        mine = self.tags
        for index, validator in enumerate(self._validators.validators):
            begin, end = TAG_BYTES * index, TAG_BYTES * (index + 1)
            ours, theirs = mine[begin:end], tags[begin:end] or TAG_NONE
            if ours != theirs:
                yield validator.public_key, ours, theirs

    def _compute_tag(self, validator: bytes) -> bytes:
        votes = self._votes.get(validator)
        if not votes:
            return TAG_NONE
        return compute_vote_tag(votes[0]) if len(votes) == 1 else TAG_TWO


def compute_vote_tag(vote: Vote) -> bytes:
    """Four bytes that tell what a vote is for."""
    block_hash = vote.block_hash
    return TAG_NIL if block_hash is None else block_hash[:TAG_BYTES]


def compute_proposal_tag(proposal: Proposal) -> bytes:
    """Four bytes that tell what a proposal is for."""
    return proposal.block_hash[: TAG_BYTES - 1] + bytes((proposal.valid_round & 0xFF,))


class _Round:
    """The tallies of one round."""

    __slots__ = ("precommits", "prevotes")

    def __init__(self, validators: ValidatorSet) -> None:
        self.prevotes = VoteTally(validators)
        self.precommits = VoteTally(validators)

    def get(self, kind: int) -> VoteTally:
        return self.prevotes if kind == PREVOTE else self.precommits

    def count(self) -> int:
        return self.prevotes.count + self.precommits.count


class HeightVotes:
    """The tallies of every round of one height."""

    def __init__(self, validators: ValidatorSet) -> None:
        self._validators = validators
        self._rounds: dict[int, _Round] = {}
        self._future_rounds: dict[bytes, list[int]] = {}
        self._empty = VoteTally(validators)
        self.decision: tuple[int, bytes] | None = None
        """The first round whose precommits for one block became a quorum, with that block's hash (L49)."""

    def get(self, round: int, kind: int) -> VoteTally:
        """The tally of a round and kind; an empty one where no vote of the round has come."""
        found = self._rounds.get(round)
        return self._empty if found is None else found.get(kind)

    def find(self, round: int, kind: int) -> VoteTally | None:
        """The tally of a round and kind, None where no vote of the round has come."""
        found = self._rounds.get(round)
        return None if found is None else found.get(kind)

    def is_news(self, vote: Vote) -> bool:
        """Whether it is not here already, and its validator has not used up its values in that round."""
        tally = self.get(vote.round, vote.kind)
        if not tally.get(vote.validator):
            return True
        return not tally.holds(vote) and not tally.is_over_bound(vote)

    def add(self, vote: Vote, current_round: int) -> bool:
        """Count a verified vote; False where it is known already or over the bounds above."""
        round, kind = vote.round, vote.kind
        if round > current_round and not self._admit_future(vote, current_round):
            return False
        tallies = self._rounds.get(round)
        if tallies is None:
            tallies = self._rounds[round] = _Round(self._validators)
        tally = tallies.get(kind)
        if not tally.add(vote):
            return False
        if kind == PRECOMMIT and self.decision is None:
            block_hash = vote.block_hash
            if block_hash is not None and self._validators.is_quorum(tally.power_for(block_hash)):
                self.decision = (round, block_hash)
        return True

    def find_equivocation(self, vote: Vote) -> Vote | None:
        """Another vote by the same validator for the same round and kind with another value."""
        for known in self.get(vote.round, vote.kind).get(vote.validator):
            if known.block_hash != vote.block_hash:
                return known
        return None

    @property
    def is_anybody_ahead(self) -> bool:
        """Whether there are votes of rounds above ours."""
        return bool(self._future_rounds)

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

    def find_backed(self) -> list[bytes]:
        """The blocks for which a third of the power voted in one round."""
        found: list[bytes] = []
        for tallies in self._rounds.values():
            found += tallies.prevotes.find_backed() + tallies.precommits.find_backed()
        return found

    def enter_round(self, round: int) -> None:
        """Rounds up to this one are no longer ahead: their votes stay."""
        ahead = {key: [each for each in rounds if each > round] for key, rounds in self._future_rounds.items()}
        self._future_rounds = {key: rounds for key, rounds in ahead.items() if rounds}

    def keep_rounds(self, rounds: Container[int]) -> None:
        """Forget the votes of every other round."""
        self._rounds = {round: tallies for round, tallies in self._rounds.items() if round in rounds}

    def rounds(self) -> list[int]:
        """Every round with a vote, ascending."""
        return sorted(self._rounds)

    def count(self) -> int:
        """How many votes are held (a gauge for the bound of invariant 15)."""
        return sum(tallies.count() for tallies in self._rounds.values())

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
            tallies = self._rounds[lowest]
            tallies.prevotes.remove_validator(vote.validator)
            tallies.precommits.remove_validator(vote.validator)
            if not tallies.count():
                del self._rounds[lowest]
        rounds.append(vote.round)
        return True
