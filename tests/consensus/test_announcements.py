"""Announcements: a peer gets what it lacks, others' votes too, and nothing it has."""

from __future__ import annotations

from tana.consensus.announcements import MAX_ROUNDS_ANNOUNCED, create_announcement, find_lacking
from tana.consensus.effects import Timer
from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart, Proposal, Vote, VoteQuorum
from tests.consensus.helpers import Cluster
from tests.consensus.test_tendermint import BLOCK, make_core, make_proposal, make_vote


def test_a_node_that_has_nothing_is_sent_everything_with_the_proposal_first() -> None:
    cluster = Cluster([1, 1, 1, 1])
    cluster.work(0)
    cluster.deliver(lambda envelope: envelope.receiver != 3 and getattr(envelope.message, "kind", 0) != 2)
    lacking = find_lacking(cluster.nodes[1].core, create_announcement(cluster.nodes[3].core))
    assert [type(message) for message in lacking[:2]] == [Proposal, BlockPart]
    assert isinstance(lacking[2], VoteQuorum)
    assert len(lacking[2].signatures) == 3, "the polka whole, with the votes of third nodes"
    assert [message.kind for message in lacking[3:] if isinstance(message, Vote)] == [PRECOMMIT], (
        "and its own precommit"
    )


def test_votes_of_third_nodes_are_relayed_where_they_are_no_quorum() -> None:
    cluster = Cluster([1, 1, 1, 1])
    cluster.work(0)
    cluster.deliver(lambda envelope: envelope.receiver == 1 and envelope.sender == 0)
    lacking = find_lacking(cluster.nodes[1].core, create_announcement(cluster.nodes[3].core))
    voters = [message.validator for message in lacking if isinstance(message, Vote) and message.kind == PREVOTE]
    assert voters == [cluster.validators.validators[index].public_key for index in (0, 1)]


def test_a_peer_that_sees_the_quorum_gets_only_the_other_votes() -> None:
    core, peer = make_core(), make_core()
    for index in range(3):
        for each in (core, peer):
            each.on_vote(make_vote(index, PREVOTE, b"x" * 32), 0)
    core.on_vote(make_vote(3, PREVOTE, None), 0)
    assert find_lacking(core, create_announcement(peer)) == [make_vote(3, PREVOTE, None)]


def test_a_block_that_only_a_quorum_names_is_sent() -> None:
    """The peer was sent another proposal than everybody else (tendermint#1575: commit known, block missing)."""
    core, peer = make_core(), make_core()
    core.on_proposal(make_proposal(), 0)
    core.on_block(BlockPart(1, BLOCK.data), 0)
    peer.on_proposal(make_proposal(block_hash=b"x" * 32), 0)
    for index in range(3):
        for each in (core, peer):
            each.on_vote(make_vote(index, PREVOTE, BLOCK.hash), 0)
    lacking = find_lacking(core, create_announcement(peer))
    assert BlockPart(1, BLOCK.data) in lacking
    peer.on_block(BlockPart(1, BLOCK.data), 0)
    peer.on_timeout(Timer("propose", 1, 0), 0)
    assert peer.locked_hash == BLOCK.hash


def test_a_node_that_has_the_same_is_sent_nothing() -> None:
    cluster = Cluster([1, 1, 1, 1])
    cluster.work(0)
    cluster.deliver(lambda envelope: getattr(envelope.message, "kind", 0) != 2)
    for sender in cluster.nodes:
        for receiver in cluster.nodes:
            lacking = find_lacking(sender.core, create_announcement(receiver.core))
            assert all(isinstance(message, Vote) and message.kind == 2 for message in lacking)


def test_announcements_are_bounded_by_rounds() -> None:
    core = make_core()
    core.on_work(0)
    for round in range(300):
        core.on_vote(make_vote(0, PREVOTE, None, round=round), 0)
        core.on_vote(make_vote(1, PREVOTE, None, round=round), 0)
    announcement = create_announcement(core)
    assert len(announcement.rounds) == MAX_ROUNDS_ANNOUNCED
    assert announcement.rounds[-1].round == 299
