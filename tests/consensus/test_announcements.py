"""Announcements: a peer gets what it lacks, others' votes too, and nothing it has."""

from __future__ import annotations

from tana.consensus.announcements import MAX_ROUNDS_ANNOUNCED, create_announcement, find_lacking
from tana.types.messages import PREVOTE, BlockPart, Proposal, Vote
from tests.consensus.helpers import Cluster
from tests.consensus.test_tendermint import make_core, make_vote


def test_a_node_that_has_nothing_is_sent_everything_with_the_proposal_first() -> None:
    cluster = Cluster([1, 1, 1, 1])
    cluster.work(0)
    cluster.deliver(lambda envelope: envelope.receiver != 3 and getattr(envelope.message, "kind", 0) != 2)
    lacking = find_lacking(cluster.nodes[1].core, create_announcement(cluster.nodes[3].core))
    assert [type(message) for message in lacking[:2]] == [Proposal, BlockPart]
    voters = {message.validator for message in lacking if isinstance(message, Vote) and message.kind == PREVOTE}
    assert len(voters) == 3, "votes of third nodes are relayed"


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
