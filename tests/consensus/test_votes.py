"""Tallies: sums, tags, and the bounds that keep a liar from filling the memory."""

from __future__ import annotations

import pytest

from tana.consensus.votes import (
    MAX_FUTURE_ROUNDS,
    TAG_BYTES,
    TAG_NIL,
    TAG_NONE,
    TAG_TWO,
    HeightVotes,
    VoteTally,
)
from tana.types.messages import PRECOMMIT, PREVOTE, Vote
from tests.consensus.helpers import make_validators

VALIDATORS = make_validators([1, 1, 1, 1])
KEYS = [item.public_key for item in VALIDATORS.validators]


def vote(index: int, value: bytes | None, round: int = 0, kind: int = PREVOTE) -> Vote:
    return Vote(kind, 1, round, value and value * 32, KEYS[index], b"s" * 64)


def test_quorum_is_more_than_two_thirds_for_one_value() -> None:
    tally = VoteTally(VALIDATORS)
    for index in range(2):
        assert tally.add(vote(index, b"a"))
    tally.add(vote(2, b"b"))
    assert tally.find_quorum() == (False, None)
    assert tally.has_any_quorum()
    tally.add(vote(3, b"a"))
    assert tally.find_quorum() == (True, b"a" * 32)


def test_nil_has_a_quorum_of_its_own() -> None:
    tally = VoteTally(VALIDATORS)
    for index in range(3):
        tally.add(vote(index, None))
    assert tally.find_quorum() == (True, None)


def test_an_equivocator_counts_under_both_values_and_once_for_anything() -> None:
    tally = VoteTally(VALIDATORS)
    assert tally.add(vote(0, b"a"))
    assert tally.add(vote(0, b"b"))
    assert not tally.add(vote(0, b"b"))
    assert (tally.power, tally.power_for(b"a" * 32), tally.power_for(b"b" * 32)) == (1, 1, 1)


def test_a_third_value_is_kept_only_where_others_back_it() -> None:
    tally = VoteTally(VALIDATORS)
    for value in (b"a", b"b"):
        tally.add(vote(0, value))
    assert not tally.add(vote(0, b"c"))
    for index in (1, 2):
        tally.add(vote(index, b"c"))
    assert tally.add(vote(0, b"c"))
    assert tally.find_quorum() == (True, b"c" * 32)


def test_tags_say_who_voted_what_and_a_peer_gets_the_difference() -> None:
    tally, other = VoteTally(VALIDATORS), VoteTally(VALIDATORS)
    tally.add(vote(0, b"a"))
    tally.add(vote(3, None))
    assert tally.tags == b"aaaa" + TAG_NONE + TAG_NONE + TAG_NIL
    other.add(vote(3, None))
    assert [item.validator for item in tally.lacking_from(other.tags)] == [KEYS[0]]
    assert list(tally.lacking_from(tally.tags)) == []
    assert list(tally.lacking_from(b"")) == [vote(0, b"a"), vote(3, None)]


def test_two_who_were_told_different_things_tell_each_other() -> None:
    tally, other = VoteTally(VALIDATORS), VoteTally(VALIDATORS)
    tally.add(vote(0, b"a"))
    other.add(vote(0, b"b"))
    assert list(tally.lacking_from(other.tags)) == list(tally.conflicting_with(other.tags)) == [vote(0, b"a")]
    other.add(vote(0, b"a"))
    assert other.tags[:TAG_BYTES] == TAG_TWO
    assert list(tally.lacking_from(other.tags)) == list(tally.conflicting_with(other.tags)) == []
    assert list(other.lacking_from(tally.tags)) == [vote(0, b"b")]


@pytest.mark.parametrize("power_ahead", [1, 2])
def test_round_skip_needs_more_than_a_third(power_ahead: int) -> None:
    votes = HeightVotes(VALIDATORS)
    for index in range(power_ahead):
        votes.add(vote(index, None, round=5 + index), current_round=0)
    assert votes.find_skip_round(0) == (5 if power_ahead == 2 else None)


def test_votes_of_rounds_ahead_are_bounded_and_the_highest_are_kept() -> None:
    votes = HeightVotes(VALIDATORS)
    for round in range(1, 1000):
        votes.add(vote(0, b"a", round=round), current_round=0)
    assert votes.count() == len(votes.rounds()) == MAX_FUTURE_ROUNDS, "nothing is left of those that were given up"
    assert not votes.add(vote(0, b"a", round=3), current_round=0)
    votes.add(vote(1, b"a", round=998), current_round=0)
    assert votes.find_skip_round(0) == 998


def test_only_precommits_for_a_block_decide() -> None:
    votes = HeightVotes(VALIDATORS)
    for index in range(3):
        votes.add(vote(index, b"a"), 0)
        votes.add(vote(index, None, kind=PRECOMMIT), 0)
    assert votes.decision is None
    for index in range(3):
        votes.add(vote(index, b"a", round=1, kind=PRECOMMIT), 1)
    assert votes.decision == (1, b"a" * 32)
