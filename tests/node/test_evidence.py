"""Traitors among whole nodes: contradictions end as committed evidence, made-up ones nowhere, and nobody is framed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pytest

from tana.crypto.keys import KeyPair
from tana.node.effects import Append, Broadcast, Effect, Report, Send
from tana.node.inputs import Received, TimerFired
from tana.node.inputs import Timer as NodeTimer
from tana.node.machine import EVIDENCE_REFUSALS_MAX, Machine, MachineConfig
from tana.types.evidence import Evidence
from tana.types.messages import (
    PRECOMMIT,
    PREVOTE,
    EvidenceMessage,
    PeerMessage,
    Proposal,
    Vote,
    VoteQuorum,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from tests.ledger.chain import accuse
from tests.node.machine_net import MachineNet, make_deposit

TRAITOR = 3


def contradict(key: KeyPair, chain_id: bytes, message: Vote | Proposal) -> Vote | Proposal:
    """What a traitor says to the other half."""
    other = hashlib.sha256(message.sign_bytes(chain_id)).digest()
    if isinstance(message, Proposal):
        signature = key.sign(proposal_sign_bytes(chain_id, message.height, message.round, other, -1))
        return Proposal(message.height, message.round, other, -1, key.public_key, signature)
    value = None if message.block_hash else other
    signature = key.sign(vote_sign_bytes(chain_id, message.kind, message.height, message.round, value))
    return Vote(message.kind, message.height, message.round, value, key.public_key, signature)


def betray(net: MachineNet, kind: int, traitors: tuple[int, ...] = (TRAITOR,), until: int = 10**9) -> None:
    """From now on traitors say one thing to one half and another to the other, in votes of a kind or proposals (0)."""
    chain_id = net.genesis.compute_chain_id()

    def change(index: int, effects: list[Effect]) -> list[Effect]:
        changed: list[Effect] = []
        for effect in effects:
            message = effect.message if isinstance(effect, Broadcast) else None
            if index not in traitors or not isinstance(message, Vote | Proposal) or not is_chosen(message, kind, until):
                changed.append(effect)
                continue
            lie = contradict(net.keys[index], chain_id, message)
            others = [other for other in range(len(net.nodes)) if other != index]
            changed += [
                Send(net.keys[other].public_key, lie if place % 2 else message) for place, other in enumerate(others)
            ]
        return changed

    net.change_effects = change


def is_chosen(message: Vote | Proposal, kind: int, until: int) -> bool:
    return message.height <= until and (message.kind if isinstance(message, Vote) else 0) == kind


def everybody_convicts(net: MachineNet, *traitors: int) -> Callable[[], bool]:
    """The chains of all correct nodes convict the traitors and nobody else."""
    keys = {net.keys[index].public_key for index in traitors}
    chains = [node.chain for node in net.nodes if node.index not in traitors]
    return lambda: all({item.validator for block, _ in chain for item in block.evidence} == keys for chain in chains)


@pytest.mark.parametrize("kind", [0, PREVOTE, PRECOMMIT])
def test_a_traitor_that_splits_its_audience_is_convicted_and_loses_its_power(kind: int) -> None:
    net = MachineNet(4)
    betray(net, kind)
    net.run_until(everybody_convicts(net, TRAITOR), limit_ms=120_000)
    height = max(len(node.chain) for node in net.nodes[:3])
    net.run_until(lambda: all(len(node.chain) >= height + 4 for node in net.nodes[:3]), limit_ms=120_000)
    for node in net.nodes[:3]:
        ledger = node.machine.ledger
        assert ledger.validators.get_power(net.keys[TRAITOR].public_key) == 0
        assert ledger.validators.total_power == 3
        names = [report.name for report in node.reports]
        assert "evidence_committed" in names
        assert "validators_changed" in names
    assert net.nodes[TRAITOR].machine.status().state == "following"


@pytest.mark.parametrize("kind", [0, PREVOTE, PRECOMMIT])
def test_one_contradiction_in_one_height_is_enough(kind: int) -> None:
    """The height is decided at once and nobody heard both sides: the announcements of past heights bring it out."""
    net = MachineNet(4)
    betray(net, kind, until=4)
    net.run_until(everybody_convicts(net, TRAITOR), limit_ms=120_000)


@pytest.mark.parametrize("kind", [0, PREVOTE, PRECOMMIT])
def test_two_traitors_of_seven(kind: int) -> None:
    net = MachineNet(7)
    betray(net, kind, traitors=(3, 5))
    net.run_until(everybody_convicts(net, 3, 5), limit_ms=240_000)


def test_over_lossy_links_the_evidence_still_gets_into_a_block() -> None:
    net = MachineNet(4)
    betray(net, PREVOTE)
    dice = random.Random(1)
    net.is_lost = lambda sender, receiver, message: dice.random() < 0.3
    net.run_until(everybody_convicts(net, TRAITOR), limit_ms=300_000)


def test_evidence_is_work_where_there_are_no_empty_blocks() -> None:
    net = MachineNet(4, config=MachineConfig(empty_block_interval_ms=None))
    net.submit(0, make_deposit(0))
    net.run_until(net.all_at(1))
    evidence = accuse(net.keys[TRAITOR], 1, chain_id=net.genesis.compute_chain_id())
    net.give(net.nodes[0], Received(net.keys[1].public_key, EvidenceMessage(evidence)))
    net.run_until(everybody_convicts(net, TRAITOR))
    # A set change that is not yet in force is work too.
    net.run_until(lambda: all(node.machine.ledger.validators.total_power == 3 for node in net.nodes))
    assert set(net.heights()) == {3}
    end_ms = net.now_ms + 30_000
    net.run_until(lambda: net.now_ms >= end_ms)
    assert set(net.heights()) == {3}


def test_evidence_reaches_a_node_whose_copy_was_lost_and_is_sent_no_more_then() -> None:
    net = MachineNet(4, config=MachineConfig(empty_block_interval_ms=None))
    net.submit(0, make_deposit(0))
    net.run_until(net.all_at(1))
    sent: list[int] = []

    def is_lost(sender: int, receiver: int, message: PeerMessage) -> bool:
        if isinstance(message, EvidenceMessage):
            sent.append(receiver)
        # Nothing is decided: each node keeps to itself what is not evidence or an announcement.
        return isinstance(message, Vote | Proposal)

    net.is_lost = is_lost
    evidence = accuse(net.keys[TRAITOR], 1, chain_id=net.genesis.compute_chain_id())
    net.give(net.nodes[0], Received(net.keys[1].public_key, EvidenceMessage(evidence)))
    net.run_until(lambda: all(len(node.machine.evidence) for node in net.nodes))
    end_ms = net.now_ms + 1_000
    net.run_until(lambda: net.now_ms >= end_ms)
    settled = len(sent)
    end_ms = net.now_ms + 10_000
    net.run_until(lambda: net.now_ms >= end_ms)
    assert len(sent) == settled


def hold_height(net: MachineNet) -> None:
    """Nothing is decided any more: votes and proposals are lost, but for those that a test gives itself."""
    net.is_lost = lambda sender, receiver, message: isinstance(message, Vote | Proposal | VoteQuorum)


def restart(net: MachineNet, *indices: int) -> None:
    for index in indices:
        net.stop(index)
    for index in indices:
        net.start(index)


def knows(net: MachineNet, index: int) -> bool:
    return net.keys[TRAITOR].public_key in net.nodes[index].machine.evidence.accused


def test_a_restarted_node_gets_from_its_peers_the_evidence_that_it_held() -> None:
    net = MachineNet(4)
    net.run_until(net.all_at(1))
    hold_height(net)
    evidence = accuse(net.keys[TRAITOR], 1, chain_id=net.genesis.compute_chain_id())
    net.give(net.nodes[0], Received(net.keys[1].public_key, EvidenceMessage(evidence)))
    net.run_until(lambda: all(knows(net, index) for index in range(3)))
    restart(net, 0)
    assert not knows(net, 0)
    net.run_until(lambda: knows(net, 0))
    net.is_lost = lambda sender, receiver, message: False
    net.run_until(everybody_convicts(net, TRAITOR))


def test_a_node_that_alone_held_evidence_finds_it_in_its_log_again() -> None:
    """Both votes are durable at once; all nodes restart, and nobody else has heard of them."""
    net = MachineNet(4)
    net.run_until(net.all_at(1))
    net.is_lost = lambda sender, receiver, message: True
    node, chain_id = net.nodes[0], net.genesis.compute_chain_id()
    height = node.machine.core.height
    vote = net.keys[TRAITOR].sign(vote_sign_bytes(chain_id, PREVOTE, height, 0, None))
    first = Vote(PREVOTE, height, 0, None, net.keys[TRAITOR].public_key, vote)
    for message in (first, contradict(net.keys[TRAITOR], chain_id, first)):
        net.give(node, Received(net.keys[1].public_key, message))
    assert knows(net, 0)
    restart(net, *range(4))
    assert knows(net, 0)
    assert not any(knows(net, index) for index in range(1, 4))
    net.is_lost = lambda sender, receiver, message: False
    net.run_until(everybody_convicts(net, TRAITOR), limit_ms=120_000)


def test_restarts_frame_nobody() -> None:
    net = MachineNet(4)
    for height in range(2, 14, 2):
        net.run_until(lambda height=height: max(net.heights()) >= height, limit_ms=120_000)  # type: ignore[misc]
        net.stop(height // 2 % 4)
        net.start(height // 2 % 4)
    net.run_until(net.all_at(14), limit_ms=120_000)
    assert not any(report.name == "equivocation" for node in net.nodes for report in node.reports)
    assert not any(block.evidence for node in net.nodes for block, _ in node.chain)


class CountingVerifier:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.calls += 1
        return False


def make_fake(net: MachineNet, number: int) -> Evidence:
    """Evidence against a real validator that is signed by somebody else."""
    liar = KeyPair.from_seed(number.to_bytes(32, "big"))
    votes = []
    for value in (None, b"b" * 32):
        signature = liar.sign(vote_sign_bytes(net.genesis.compute_chain_id(), PREVOTE, 1, number, value))
        votes.append(Vote(PREVOTE, 1, number, value, net.keys[number % 4].public_key, signature))
    return Evidence.create(*votes)


def give_evidence(machine: Machine, peer: bytes, evidence: Evidence, now_ms: int) -> list[Effect]:
    return machine.step(Received(peer, EvidenceMessage(evidence)), now_ms)


def test_invalid_evidence_in_bulk_costs_a_bounded_number_of_checks() -> None:
    net = MachineNet(4)
    net.run_until(net.all_at(2))
    node, peer = net.nodes[0], net.keys[1].public_key
    verifier = CountingVerifier()
    node.machine.ledger._verifier = verifier
    effects = [
        effect
        for number in range(1000)
        for effect in give_evidence(node.machine, peer, make_fake(net, number), net.now_ms)
    ]
    refusals = [effect for effect in effects if isinstance(effect, Report) and effect.name == "evidence_refused"]
    assert verifier.calls == len(refusals) == EVIDENCE_REFUSALS_MAX
    assert len(node.machine.evidence) == 0
    assert not any(isinstance(effect, Append) for effect in effects)
    # Another peer is heard all the same, and after an interval this one again.
    give_evidence(node.machine, net.keys[2].public_key, make_fake(net, 1), net.now_ms)
    assert verifier.calls == EVIDENCE_REFUSALS_MAX + 1
    node.machine.step(TimerFired(NodeTimer("announce")), net.now_ms)
    give_evidence(node.machine, peer, make_fake(net, 1), net.now_ms)
    assert verifier.calls == EVIDENCE_REFUSALS_MAX + 2


@pytest.mark.parametrize(
    ("height", "index", "chain_id"),
    [(10**6, 3, None), (1, 3, b"x" * 32), (1, 4, None)],
    ids=["of_the_future", "of_another_chain", "of_a_follower"],
)
def test_invalid_evidence_blames_nobody(height: int, index: int, chain_id: bytes | None) -> None:
    net = MachineNet(5, validators=4)
    net.run_until(net.all_at(2))
    evidence = accuse(net.keys[index], height, chain_id=chain_id or net.genesis.compute_chain_id())
    for node in net.nodes[:4]:
        net.give(node, Received(net.keys[(node.index + 1) % 4].public_key, EvidenceMessage(evidence)))
    top = max(net.heights())
    net.run_until(net.all_at(top + 4))
    assert not any(block.evidence for node in net.nodes for block, _ in node.chain)
