"""What the core refuses, and what it never signs."""

from __future__ import annotations

import msgspec
import pytest

from tana.consensus.effects import Accuse, Append, Broadcast, ConsensusEffect, Report, Seen, SetTimer, Signed, Timer
from tana.consensus.tendermint import Step, Tendermint, Timeouts
from tana.types.block import Block, CommitSignature, RawTransaction
from tana.types.evidence import Evidence
from tana.types.messages import (
    PRECOMMIT,
    PREVOTE,
    BlockPart,
    Proposal,
    Vote,
    VoteQuorum,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from tests.consensus.helpers import (
    CHAIN_ID,
    Cluster,
    StandInSigner,
    ToyApplication,
    make_block,
    make_validators,
    verify_stand_in,
)

VALIDATORS = make_validators([1, 1, 1, 1])
KEYS = [item.public_key for item in VALIDATORS.validators]
BLOCK = make_block(1, 7)


def make_core(index: int = 3, floor: tuple[int, int, int] = (0, 0, 0), empty_ms: int | None = None) -> Tendermint:
    application = ToyApplication(index, KEYS[index])
    timeouts = Timeouts(empty_block_interval_ms=empty_ms)
    core = Tendermint(CHAIN_ID, application, timeouts, StandInSigner(KEYS[index]), verify_stand_in, sign_floor=floor)
    core.start_height(1, VALIDATORS, 0)
    return core


def make_vote(index: int, kind: int, block_hash: bytes | None, round: int = 0, chain_id: bytes = CHAIN_ID) -> Vote:
    message = vote_sign_bytes(chain_id, kind, 1, round, block_hash)
    return Vote(kind, 1, round, block_hash, KEYS[index], StandInSigner(KEYS[index]).sign(message))


def make_proposal(index: int = 0, round: int = 0, valid_round: int = -1, block_hash: bytes = BLOCK.hash) -> Proposal:
    message = proposal_sign_bytes(CHAIN_ID, 1, round, block_hash, valid_round)
    return Proposal(1, round, block_hash, valid_round, KEYS[index], StandInSigner(KEYS[index]).sign(message))


def reasons(effects: list[ConsensusEffect]) -> list[object]:
    return [effect.fields.get("reason", effect.name) for effect in effects if isinstance(effect, Report)]


def sent(effects: list[ConsensusEffect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Broadcast)]


def test_invalid_vote_of_a_stranger() -> None:
    stranger = StandInSigner(b"s" * 32)
    message = vote_sign_bytes(CHAIN_ID, PREVOTE, 1, 0, None)
    vote = Vote(PREVOTE, 1, 0, None, stranger.public_key, stranger.sign(message))
    core = make_core()
    assert reasons(core.on_vote(vote, 0)) == ["not a validator"]
    assert core.step == Step.NEW_HEIGHT


def test_invalid_vote_with_a_forged_signature_does_not_blame_its_victim() -> None:
    forged = msgspec.structs.replace(make_vote(0, PREVOTE, BLOCK.hash), block_hash=None)
    core = make_core()
    assert reasons(core.on_vote(forged, 0)) == ["bad signature"]
    assert core.votes.count() == 0
    assert reasons(core.on_vote(make_vote(0, PREVOTE, BLOCK.hash), 0)) == []


def test_invalid_vote_of_another_chain() -> None:
    assert reasons(make_core().on_vote(make_vote(0, PREVOTE, None, chain_id=b"x" * 32), 0)) == ["bad signature"]


def test_invalid_vote_of_another_height_is_passed_over() -> None:
    vote = msgspec.structs.replace(make_vote(0, PREVOTE, None), height=2)
    assert make_core().on_vote(vote, 0) == []


def test_vote_signature_does_not_serve_the_other_kind() -> None:
    vote = msgspec.structs.replace(make_vote(0, PREVOTE, None), kind=PRECOMMIT)
    assert reasons(make_core().on_vote(vote, 0)) == ["bad signature"]


def test_replayed_vote_counts_once() -> None:
    core = make_core()
    core.on_vote(make_vote(0, PREVOTE, BLOCK.hash), 0)
    assert core.on_vote(make_vote(0, PREVOTE, BLOCK.hash), 0) == []
    assert core.votes.get(0, PREVOTE).power == 1


def test_equivocating_vote_is_reported_and_counts_once_for_anything() -> None:
    core = make_core()
    core.on_vote(make_vote(0, PREVOTE, BLOCK.hash), 0)
    assert reasons(core.on_vote(make_vote(0, PREVOTE, None), 0)) == ["equivocation"]
    assert core.votes.get(0, PREVOTE).power == 1


def accusations(effects: list[ConsensusEffect]) -> list[Evidence]:
    return [effect.evidence for effect in effects if isinstance(effect, Accuse)]


def test_both_conflicting_votes_are_handed_over_once_verified() -> None:
    core = make_core()
    core.on_vote(make_vote(0, PREVOTE, BLOCK.hash), 0)
    forged = msgspec.structs.replace(make_vote(0, PREVOTE, BLOCK.hash), block_hash=b"x" * 32)
    assert accusations(core.on_vote(forged, 0)) == []
    found = accusations(core.on_vote(make_vote(0, PREVOTE, None), 0))
    assert found == [Evidence.create(make_vote(0, PREVOTE, BLOCK.hash), make_vote(0, PREVOTE, None))]


def test_votes_of_two_kinds_or_rounds_are_no_contradiction() -> None:
    core = make_core()
    core.on_vote(make_vote(0, PREVOTE, BLOCK.hash), 0)
    assert accusations(core.on_vote(make_vote(0, PRECOMMIT, None), 0)) == []
    assert accusations(core.on_vote(make_vote(0, PREVOTE, None, round=1), 0)) == []


def test_an_equivocators_flood_costs_two_checks() -> None:
    checks = 0

    def count(public_key: bytes, message: bytes, signature: bytes) -> bool:
        nonlocal checks
        checks += 1
        return verify_stand_in(public_key, message, signature)

    core = Tendermint(CHAIN_ID, ToyApplication(9, b"f" * 32), Timeouts(), None, count)
    core.start_height(1, VALIDATORS, 0)
    for number in range(100):
        core.on_vote(make_vote(0, PREVOTE, bytes([number]) * 32), 0)
        core.on_proposal(make_proposal(block_hash=bytes([number]) * 32), 0)
    assert checks == 4


def test_a_contradiction_in_the_log_is_found_again_after_a_restart() -> None:
    core = make_core()
    records = [Seen(make_vote(0, PREVOTE, BLOCK.hash)), Seen(make_vote(0, PREVOTE, None))]
    assert len(accusations(core.start_height(1, VALIDATORS, 0, records))) == 1


def test_a_proposal_with_another_valid_round_is_a_contradiction() -> None:
    core = make_core()
    core.on_work(0)
    for index in range(3):
        core.on_vote(make_vote(index, PRECOMMIT, None), 0)
    core.on_timeout(Timer("precommit", 1, 0), 0)
    first, second = make_proposal(1, round=1), make_proposal(1, round=1, valid_round=0)
    assert accusations(core.on_proposal(first, 0)) == []
    assert accusations(core.on_proposal(second, 0)) == [Evidence.create(first, second)]


def test_an_odd_signature_under_equal_fields_is_no_contradiction() -> None:
    core = make_core()
    core.on_proposal(make_proposal(), 0)
    core.on_vote(make_vote(0, PREVOTE, BLOCK.hash), 0)
    odd = b"o" * 64
    assert core.on_proposal(msgspec.structs.replace(make_proposal(), signature=odd), 0) == []
    assert core.on_vote(msgspec.structs.replace(make_vote(0, PREVOTE, BLOCK.hash), signature=odd), 0) == []


def test_a_late_contradiction_of_the_height_before_is_found() -> None:
    core = make_core()
    core.on_vote(make_vote(0, PRECOMMIT, BLOCK.hash), 0)
    core.start_height(2, VALIDATORS, 0)
    assert accusations(core.on_vote(make_vote(0, PRECOMMIT, None), 0)) == [
        Evidence.create(make_vote(0, PRECOMMIT, None), make_vote(0, PRECOMMIT, BLOCK.hash))
    ]


def test_invalid_proposal_out_of_turn() -> None:
    assert reasons(make_core().on_proposal(make_proposal(index=1), 0)) == ["not its proposer"]


def test_invalid_proposal_with_a_forged_signature() -> None:
    forged = msgspec.structs.replace(make_proposal(), block_hash=b"x" * 32)
    assert reasons(make_core().on_proposal(forged, 0)) == ["bad signature"]


def test_invalid_proposal_whose_valid_round_is_not_earlier() -> None:
    assert reasons(make_core().on_proposal(make_proposal(valid_round=0), 0)) == ["valid round is not earlier"]


def test_invalid_proposal_far_ahead_is_passed_over() -> None:
    core = make_core()
    assert core.on_proposal(make_proposal(index=2, round=2), 0) == []
    assert core.proposals == {}


def test_second_proposal_of_a_round_is_reported_and_the_first_stays() -> None:
    core = make_core()
    core.on_proposal(make_proposal(), 0)
    assert reasons(core.on_proposal(make_proposal(block_hash=b"x" * 32), 0)) == ["equivocation"]
    assert core.proposals[0].block_hash == BLOCK.hash


def make_quorum(*votes: Vote) -> VoteQuorum:
    signatures = tuple(CommitSignature(vote.validator, vote.signature) for vote in votes)
    return VoteQuorum(votes[0].kind, 1, votes[0].round, votes[0].block_hash, signatures)


def test_a_whole_polka_counts_though_a_traitor_told_us_two_other_things() -> None:
    core = make_core()
    for value in (None, b"x" * 32):
        core.on_vote(make_vote(0, PREVOTE, value), 0)
    polka = make_quorum(*(make_vote(index, PREVOTE, BLOCK.hash) for index in range(3)))
    core.on_quorum(polka, 0)
    assert core.votes.get(0, PREVOTE).find_quorum() == (True, BLOCK.hash)
    assert core.on_quorum(polka, 0) == []


def test_a_whole_commit_decides() -> None:
    core = make_core()
    core.on_proposal(make_proposal(), 0)
    core.on_block(BlockPart(1, BLOCK.data), 0)
    effects = core.on_quorum(make_quorum(*(make_vote(index, PRECOMMIT, BLOCK.hash) for index in range(3))), 0)
    assert core.decided
    assert len([effect for effect in effects if isinstance(effect, Append)]) >= 3, "what decides is in the log"


def test_invalid_vote_in_a_quorum_ends_its_reading() -> None:
    checks = 0

    def refuse(public_key: bytes, message: bytes, signature: bytes) -> bool:
        nonlocal checks
        checks += 1
        return False

    core = Tendermint(CHAIN_ID, ToyApplication(9, b"f" * 32), Timeouts(), None, refuse)
    core.start_height(1, VALIDATORS, 0)
    effects = core.on_quorum(make_quorum(*(make_vote(index, PREVOTE, BLOCK.hash) for index in range(4))), 0)
    assert reasons(effects) == ["bad signature"]
    assert (checks, core.votes.count()) == (1, 0)


def test_invalid_quorum_of_another_height_is_passed_over() -> None:
    quorum = msgspec.structs.replace(make_quorum(make_vote(0, PREVOTE, None)), height=2)
    assert make_core().on_quorum(quorum, 0) == []


def test_invalid_block_over_the_bound_of_the_genesis() -> None:
    core = Tendermint(CHAIN_ID, ToyApplication(9, b"f" * 32), Timeouts(), None, verify_stand_in, max_block_bytes=100)
    core.start_height(1, VALIDATORS, 0)
    core.on_proposal(make_proposal(), 0)
    assert "over the bound of 100" in str(reasons(core.on_block(BlockPart(1, BLOCK.data), 0)))
    assert core.blocks == {}


def test_invalid_block_bytes() -> None:
    core = make_core()
    core.on_proposal(make_proposal(), 0)
    assert len(reasons(core.on_block(BlockPart(1, BLOCK.data[:-1]), 0))) == 1
    assert core.blocks == {}


def test_invalid_body_under_a_good_header_does_not_spoil_the_block() -> None:
    core = make_core()
    core.on_proposal(make_proposal(), 0)
    liar = Block.create(BLOCK.header, [RawTransaction(b"{}", b"s" * 64)])
    assert liar.hash == BLOCK.hash
    assert "counts 0 transactions and the body has 1" in str(reasons(core.on_block(BlockPart(1, liar.data), 0)))
    assert any(
        isinstance(message, Vote) and message.block_hash for message in sent(core.on_block(BlockPart(1, BLOCK.data), 0))
    )


def test_block_that_nobody_named_is_not_kept() -> None:
    core = make_core()
    assert core.on_block(BlockPart(1, BLOCK.data), 0) == []
    assert core.blocks == {}


def test_blocks_held_are_bounded() -> None:
    core = make_core()
    core.on_work(0)
    for label in range(40):
        block = make_block(1, 1000 + label)
        for index in range(2):
            core.on_vote(make_vote(index, PRECOMMIT, block.hash, round=label), 0)
        core.on_block(BlockPart(1, block.data), 0)
    assert len(core.blocks) <= 9


def test_stale_timers_change_nothing() -> None:
    core = make_core()
    core.on_work(0)
    stale = [Timer("propose", 2, 0), Timer("propose", 1, 1), Timer("prevote", 1, 0), Timer("precommit", 1, 3)]
    for timer in stale:
        assert core.on_timeout(timer, 0) == []
    assert (core.round, core.step) == (0, Step.PROPOSE)


def test_timeouts_grow_with_the_round() -> None:
    timeouts = Timeouts(propose_timeout_ms=100, timeout_delta_ms=10)
    assert [timeouts.of("propose", round) for round in (0, 1, 5)] == [100, 110, 150]


def test_empty_block_interval_starts_a_height_without_work() -> None:
    core = make_core(index=0, empty_ms=50)
    effects = core.on_timeout(Timer("empty_block", 1), 0)
    assert any(isinstance(message, Proposal) for message in sent(effects))


def test_empty_blocks_can_be_off() -> None:
    core = make_core(index=0)
    assert not any(isinstance(effect, SetTimer) for effect in core.start_height(1, VALIDATORS, 0))


@pytest.mark.parametrize("kind", [PREVOTE, PRECOMMIT])
def test_nothing_is_signed_at_or_below_the_floor(kind: int) -> None:
    """The log says that a slot of round 3 was signed, but the message itself is gone: begin in the first free round."""
    core = make_core(index=0, floor=(1, 3, kind))
    first_round = 4 if kind == PRECOMMIT else 3
    assert core.round == first_round
    effects = core.on_work(0) + core.on_timeout(Timer("propose", 1, first_round), 0)
    for index in (1, 2, 3):
        effects += core.on_vote(make_vote(index, PREVOTE, None, round=first_round), 0)
    slots = [(vote.round, vote.kind) for vote in sent(effects) if isinstance(vote, Vote)]
    assert slots[-1] == (first_round, PRECOMMIT)
    assert all(slot > (3, kind) for slot in slots)


def test_lock_survives_a_recovery_above_it() -> None:
    """`tana validator recover` kept the records of the height: above the floor, the node still holds to its lock."""
    signed = Signed(make_vote(0, PRECOMMIT, BLOCK.hash))
    records: list[Signed | Seen] = [Seen(BlockPart(1, BLOCK.data)), signed]
    application = ToyApplication(0, KEYS[0])
    core = Tendermint(
        CHAIN_ID, application, Timeouts(), StandInSigner(KEYS[0]), verify_stand_in, sign_floor=(1, 4, PRECOMMIT)
    )
    effects = core.start_height(1, VALIDATORS, 0, records)
    assert (core.round, core.locked_round, core.locked_hash) == (5, 0, BLOCK.hash)
    assert signed.message in sent(effects)
    other = make_block(1, 8)
    proposer = KEYS.index(VALIDATORS.get_proposer(5).public_key)
    assert proposer != 0, "somebody else proposes"
    effects = core.on_proposal(make_proposal(proposer, round=5, block_hash=other.hash), 0)
    effects += core.on_block(BlockPart(1, other.data), 0)
    votes = [message for message in sent(effects) if isinstance(message, Vote)]
    assert [(vote.round, vote.kind, vote.block_hash) for vote in votes] == [(5, PREVOTE, None)]
    assert any("locked on" in str(reason) for reason in reasons(effects))


def test_a_floor_at_another_height_changes_nothing() -> None:
    core = make_core(index=0, floor=(2, 3, PRECOMMIT))
    assert (core.round, core.step) == (-1, Step.NEW_HEIGHT)


def test_of_three_one_above_the_floor_moves_the_others_on() -> None:
    """At n=3 nobody may be faulty: a single validator that is further on is reason enough to follow it (f + 1 = 1)."""
    cluster = Cluster([1, 1, 1])
    cluster.work(0)
    cluster.deliver(lambda envelope: 2 not in (envelope.sender, envelope.receiver))
    cluster.crash(2)
    recovered = cluster.nodes[2]
    recovered.is_down = False
    recovered.core = cluster._create_core(
        recovered.application.public_key, recovered.application, (1, cluster.nodes[0].core.round, PRECOMMIT)
    )
    cluster._start(recovered)
    for _ in range(20):
        cluster.announce_all()
        cluster.deliver()
        for node in cluster.nodes:
            for kind in tuple(node.timers):
                if not node.decided:
                    cluster.fire(node.index, kind)
    assert all(node.decided for node in cluster.nodes)
    assert len(cluster.decisions(1)) == 1


def test_a_follower_follows_and_never_signs() -> None:
    application = ToyApplication(9, b"f" * 32)
    core = Tendermint(CHAIN_ID, application, Timeouts(), StandInSigner(b"f" * 32), verify_stand_in)
    core.start_height(1, VALIDATORS, 0)
    effects = core.on_proposal(make_proposal(), 0) + core.on_block(BlockPart(1, BLOCK.data), 0)
    for kind in (PREVOTE, PRECOMMIT):
        for index in range(3):
            effects += core.on_vote(make_vote(index, kind, BLOCK.hash), 0)
    assert core.decided
    assert sent(effects) == []
