"""Heights decided lately: late contradictions convict, forgeries convict nobody, and memory is bounded."""

from __future__ import annotations

import msgspec

from tana.consensus.past import HEIGHTS_KEPT, ROUNDS_KEPT, TIMES_ANNOUNCED, PastHeights
from tana.consensus.votes import HeightVotes
from tana.types.evidence import Evidence
from tana.types.messages import PRECOMMIT, Proposal, Vote, proposal_sign_bytes, vote_sign_bytes
from tests.consensus.helpers import CHAIN_ID, StandInSigner, make_validators, verify_stand_in

VALIDATORS = make_validators([1, 1, 1, 1])
SIGNERS = [StandInSigner(item.public_key) for item in VALIDATORS.validators]
A, B = b"a" * 32, b"b" * 32


def vote(index: int, value: bytes | None, height: int = 1, round: int = 0) -> Vote:
    message = vote_sign_bytes(CHAIN_ID, PRECOMMIT, height, round, value)
    return Vote(PRECOMMIT, height, round, value, SIGNERS[index].public_key, SIGNERS[index].sign(message))


def propose(index: int, value: bytes, height: int = 1, round: int = 0) -> Proposal:
    message = proposal_sign_bytes(CHAIN_ID, height, round, value, -1)
    return Proposal(height, round, value, -1, SIGNERS[index].public_key, SIGNERS[index].sign(message))


def make_past(*votes: Vote, proposals: tuple[Proposal, ...] = (), last_round: int = 0) -> PastHeights:
    past = PastHeights(CHAIN_ID, verify_stand_in)
    held = HeightVotes(VALIDATORS)
    for item in votes:
        held.add(item, last_round)
    past.remember(1, last_round, held, {item.round: item for item in proposals}, set())
    return past


THREE = tuple(vote(index, A) for index in range(3))


def test_a_late_contradiction_is_evidence() -> None:
    past = make_past(*THREE)
    assert past.on_vote(vote(1, B)) == Evidence.create(vote(1, A), vote(1, B))
    assert past.on_vote(vote(1, None)) is None, "found out already"


def test_a_late_vote_is_remembered_and_the_next_one_compared() -> None:
    past = make_past(*THREE)
    assert past.on_vote(vote(3, A)) is None
    assert past.on_vote(vote(3, A)) is None
    assert past.on_vote(vote(3, B)) == Evidence.create(vote(3, A), vote(3, B))


def test_forgeries_convict_nobody_and_hide_nothing() -> None:
    past = make_past(*THREE)
    forged = msgspec.structs.replace(vote(3, A), block_hash=B)
    assert past.on_vote(forged) is None
    assert past.on_vote(msgspec.structs.replace(vote(3, A), block_hash=None)) is None
    assert past.on_vote(vote(3, A)) is None, "it takes the place of the forgery"
    assert past.on_vote(vote(3, B)) == Evidence.create(vote(3, A), vote(3, B))
    assert past.on_vote(msgspec.structs.replace(vote(0, A), block_hash=B)) is None


def test_what_nobody_voted_on_is_passed_over() -> None:
    past = make_past(*THREE)
    stranger = StandInSigner(b"s" * 32)
    for late in (
        vote(1, B, height=2),
        vote(1, B, round=5),
        msgspec.structs.replace(vote(1, B), validator=stranger.public_key),
    ):
        assert past.on_vote(late) is None
    assert past.count() == 3


def test_a_second_proposal_is_evidence_once() -> None:
    past = make_past(*THREE, proposals=(propose(0, A),))
    assert past.on_proposal(propose(0, A)) is None
    assert past.on_proposal(msgspec.structs.replace(propose(0, A), block_hash=B)) is None
    assert past.on_proposal(propose(1, B)) is None, "another's proposal"
    assert past.on_proposal(propose(0, B)) == Evidence.create(propose(0, A), propose(0, B))
    assert past.on_proposal(propose(0, b"c" * 32)) is None


def test_two_nodes_that_were_told_different_things_find_out() -> None:
    ours = make_past(*THREE, vote(3, A), proposals=(propose(0, A),))
    theirs = make_past(*THREE, vote(3, B), proposals=(propose(0, B),))
    sent = ours.find_conflicting(theirs.summarize())
    assert sent == [propose(0, A), vote(3, A)]
    assert theirs.on_vote(vote(3, A)) == Evidence.create(vote(3, A), vote(3, B))
    assert theirs.on_proposal(propose(0, A)) == Evidence.create(propose(0, A), propose(0, B))
    assert ours.find_conflicting(theirs.summarize()) == [], "nothing is sent twice on a guess"
    assert ours.find_conflicting(ours.summarize()) == []


def test_what_is_sent_for_one_announcement_is_bounded() -> None:
    past = PastHeights(CHAIN_ID, verify_stand_in)
    for height in range(1, HEIGHTS_KEPT + 1):
        held = HeightVotes(VALIDATORS)
        for index in range(4):
            held.add(vote(index, A, height), 0)
        past.remember(height, 0, held, {}, set())
    lie = tuple(
        msgspec.structs.replace(
            item,
            rounds=tuple(msgspec.structs.replace(each, precommits=b"liar" * 4) for each in item.rounds),
        )
        for item in past.summarize()
    )
    assert len(past.find_conflicting(lie)) == 32


def test_a_height_is_announced_a_few_times_and_again_when_it_has_changed() -> None:
    past = make_past(*THREE)
    for _ in range(TIMES_ANNOUNCED):
        assert len(past.summarize()) == 1
        past.on_announced()
    assert past.summarize() == ()
    past.on_vote(vote(3, A))
    assert len(past.summarize()) == 1


def test_memory_is_bounded_by_heights_and_rounds() -> None:
    past = PastHeights(CHAIN_ID, verify_stand_in)
    for height in range(1, 100):
        held = HeightVotes(VALIDATORS)
        for round in range(50):
            held.add(vote(0, A, height, round), 49)
        past.remember(height, 49, held, {round: propose(0, A, height, round) for round in range(50)}, set())
    assert past.count() == HEIGHTS_KEPT * ROUNDS_KEPT * 2
    assert [item.height for item in past.summarize()] == list(range(100 - HEIGHTS_KEPT, 100))
