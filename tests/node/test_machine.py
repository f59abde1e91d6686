"""The machine: several of them agree, halt without a quorum, catch up, and stop rather than diverge."""

from __future__ import annotations

import random

import msgspec
import pytest

from tana.consensus.past import HEIGHTS_KEPT, ROUNDS_KEPT
from tana.consensus.votes import MAX_FUTURE_ROUNDS
from tana.ledger.ledger import Ledger
from tana.node.effects import Append, Broadcast, Commit, Effect, Flush, Report, Seen, Send, SetTimer
from tana.node.inputs import PeerConnected, PeerDisconnected, Received, Submitted
from tana.node.machine import EARLY_MESSAGES_PER_PEER, EARLY_PARTS, MachineConfig, order_effects
from tana.types.block import Block, CommitSignature, RawTransaction
from tana.types.messages import (
    PREVOTE,
    Announcement,
    BlockPart,
    Blocks,
    FinalBlock,
    PeerMessage,
    Proposal,
    Transactions,
    Vote,
    vote_sign_bytes,
)
from tests.node.machine_net import MachineNet, make_deposit


def test_three_nodes_finalize_the_same_blocks() -> None:
    net = MachineNet(3)
    net.run_until(net.all_at(5))
    for height in range(1, 6):
        assert len(net.hashes_at(height)) == 1


def test_without_empty_blocks_the_chain_waits_for_work() -> None:
    net = MachineNet(3, config=MachineConfig(empty_block_interval_ms=None))
    end_ms = net.now_ms + 30_000
    net.run_until(lambda: net.now_ms >= end_ms)
    assert net.heights() == [0, 0, 0]
    net.submit(1, make_deposit(0))
    net.run_until(net.all_at(1))
    assert [len(node.chain[0][0].transactions) for node in net.nodes] == [1, 1, 1]


def test_a_clock_that_is_set_back_holds_no_work_up() -> None:
    config = MachineConfig(empty_block_interval_ms=None)
    net = MachineNet(1, config=config)
    net.submit(0, make_deposit(0))
    net.run_until(net.all_at(1))
    effects = net.nodes[0].machine.step(Submitted(9, (make_deposit(1),)), net.now_ms - 3_600_000)
    waits = [effect.delay_ms for effect in effects if isinstance(effect, SetTimer) and effect.timer.kind == "work"]
    assert waits == [config.min_block_interval_ms]


def test_transactions_sent_everywhere_are_committed_once() -> None:
    net = MachineNet(3)
    for nonce in range(30):
        for index in range(3):
            net.submit(index, make_deposit(nonce))
    net.run_until(lambda: all(sum(len(b.transactions) for b, _ in node.chain) == 30 for node in net.nodes))
    net.run_until(net.all_at(max(net.heights()) + 2))
    assert [node.machine.ledger.get_supply() for node in net.nodes] == [{"USD": 103_000}] * 3
    assert len({node.machine.ledger.state_root for node in net.nodes}) == 1


def test_a_transaction_reaches_a_block_though_its_gossip_is_lost() -> None:
    net = MachineNet(3, config=MachineConfig(empty_block_interval_ms=None))
    net.is_lost = lambda sender, receiver, message: isinstance(message, Transactions)
    net.submit(2, make_deposit(0))
    net.run_until(lambda: all(any(block.transactions for block, _ in node.chain) for node in net.nodes))


def test_a_followers_transaction_is_offered_once_it_has_a_peer() -> None:
    net = MachineNet(4, validators=3, config=MachineConfig(empty_block_interval_ms=None))
    for other in net.nodes[:3]:
        net.give(net.nodes[3], PeerDisconnected(other.key.public_key))
        net.give(other, PeerDisconnected(net.keys[3].public_key))
    net.submit(3, make_deposit(0))
    end_ms = net.now_ms + 1_000
    net.run_until(lambda: net.now_ms >= end_ms)
    net.give(net.nodes[0], PeerConnected(net.keys[3].public_key))
    net.give(net.nodes[3], PeerConnected(net.keys[0].public_key))
    net.run_until(lambda: all(any(block.transactions for block, _ in node.chain) for node in net.nodes[:3]))


def test_a_followers_transaction_whose_gossip_was_lost_is_offered_again() -> None:
    net = MachineNet(4, validators=3, config=MachineConfig(empty_block_interval_ms=None))
    net.is_lost = lambda sender, receiver, message: isinstance(message, Transactions)
    net.submit(3, make_deposit(0))
    end_ms = net.now_ms + 1_000
    net.run_until(lambda: net.now_ms >= end_ms)
    net.is_lost = lambda sender, receiver, message: False
    net.run_until(net.all_at(1))


def test_two_of_three_stand_still_and_say_who_is_missing() -> None:
    net = MachineNet(3)
    net.run_until(net.all_at(2))
    net.stop(2)
    net.run_until(lambda: all(node.machine.status().announcements >= 5 for node in net.nodes[:2]))
    stuck = net.heights()[:2]
    status = net.nodes[0].machine.status()
    assert status.step_power < status.quorum_power
    assert "validator-2" in status.missing
    net.run_until(lambda: all(node.machine.status().announcements >= 20 for node in net.nodes[:2]))
    assert net.heights()[:2] == stuck
    net.start(2)
    net.run_until(net.all_at(max(stuck) + 3))


def test_four_nodes_go_on_without_one_and_it_catches_up() -> None:
    net = MachineNet(4)
    net.run_until(net.all_at(1))
    net.stop(3)
    net.run_until(net.all_at(100), limit_ms=600_000)
    net.start(3)
    net.run_until(net.all_at(103), limit_ms=600_000)
    assert len(net.hashes_at(100)) == 1


def test_every_message_kind_may_be_lost_for_a_while() -> None:
    net = MachineNet(4)
    dice = random.Random(1)
    net.is_lost = lambda sender, receiver, message: dice.random() < 0.3
    net.run_until(net.all_at(10), limit_ms=300_000)


def test_nodes_without_a_link_between_them_hear_of_each_other_through_a_third() -> None:
    net = MachineNet(3)
    net.is_lost = lambda sender, receiver, message: {sender, receiver} == {0, 2}
    net.run_until(net.all_at(4), limit_ms=120_000)


def test_a_follower_follows_without_a_vote() -> None:
    net = MachineNet(4, validators=3)
    net.run_until(net.all_at(4))
    assert net.nodes[3].machine.status().state == "following"
    assert not any(
        isinstance(record.message, Vote) and type(record).__name__ == "Signed" for record in net.nodes[3].log
    )


def test_all_crash_at_once_and_go_on() -> None:
    net = MachineNet(3)
    net.run_until(net.all_at(3))
    for index in range(3):
        net.stop(index)
    for index in range(3):
        net.start(index)
    net.run_until(net.all_at(6))


def test_wrong_state_root_is_answered_with_nil_and_a_reason_that_names_both() -> None:
    net = MachineNet(4)
    broken = net.nodes[0].machine.ledger
    seal = broken._seal

    def seal_wrongly(*arguments: object, **named: object) -> Block:
        block = seal(*arguments, **named)  # type: ignore[arg-type]
        return Block.create(msgspec.structs.replace(block.header, state_root=b"w" * 32), block.transactions)

    broken._seal = seal_wrongly  # type: ignore[method-assign]
    net.run_until(net.all_at(6), limit_ms=120_000)
    reasons = [
        str(report.fields["reason"])
        for node in net.nodes[1:]
        for report in node.reports
        if report.name == "prevote_nil"
    ]
    assert any("state root ours" in reason and (b"w" * 32).hex() in reason for reason in reasons)


def test_a_certified_block_with_another_root_stops_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    net = MachineNet(4)
    net.run_until(net.all_at(1))
    ledger = net.nodes[3].machine.ledger
    finish = Ledger._finish

    def finish_wrongly(self: Ledger, state: object) -> object:
        changes, undo, tree = finish(self, state)  # type: ignore[arg-type]
        return changes, undo, tree.updated({b"wrong": b"row"}) if self is ledger else tree

    monkeypatch.setattr(Ledger, "_finish", finish_wrongly)
    net.run_until(lambda: bool(net.nodes[3].halted))
    assert "state root ours" in net.nodes[3].halted
    assert net.nodes[3].machine.status().state == "stopped"
    others = net.nodes[:3]
    target = max(len(node.chain) for node in others) + 3
    net.run_until(lambda: all(len(node.chain) >= target for node in others), limit_ms=120_000)


def test_a_decided_block_whose_execution_was_forgotten_is_executed_again() -> None:
    net = MachineNet(3)

    def forget(index: int, effects: list[Effect]) -> list[Effect]:
        ledger = net.nodes[index].machine.ledger
        ledger._candidates.clear()
        return effects

    net.run_until(net.all_at(1))
    net.change_effects = forget
    net.submit(0, make_deposit(0))
    net.run_until(net.all_at(4))
    assert len(net.hashes_at(4)) == 1


@pytest.mark.parametrize("is_deaf", [True, False], ids=["hears_nothing", "is_not_heard"])
def test_a_half_connected_node_stalls_nobody(is_deaf: bool) -> None:
    """tendermint#5833: its links are up, and one direction of each carries nothing."""
    net = MachineNet(4)
    net.run_until(net.all_at(2))
    net.is_lost = lambda sender, receiver, message: (receiver if is_deaf else sender) == 3
    target = max(net.heights()) + 12
    net.run_until(lambda: all(len(net.nodes[index].chain) >= target for index in range(3)), limit_ms=60_000)
    net.is_lost = lambda sender, receiver, message: False
    net.run_until(net.all_at(target + 2))


def test_messages_of_an_older_chain_do_not_stop_a_new_one() -> None:
    """Tendermint 0.33.6: the same keys, another genesis, and every vote of the old chain sent again."""
    old = MachineNet(4, validators=4)
    votes: list[Vote] = []

    def record(sender: int, receiver: int, message: PeerMessage) -> bool:
        if isinstance(message, Vote):
            votes.append(message)
        return False

    old.is_lost = record
    old.run_until(old.all_at(4))
    net = MachineNet(4)
    net.genesis = msgspec.structs.replace(net.genesis, createdAt=net.genesis.createdAt + 1)
    for index in range(4):
        net.stop(index)
        net.nodes[index].log = []
    for index in range(4):
        net.start(index)
    for vote in votes:
        for node in net.nodes:
            net.give(node, Received(net.keys[(node.index + 1) % 4].public_key, vote))
    net.run_until(net.all_at(5))
    assert not any(report.name == "equivocation" for node in net.nodes for report in node.reports)


def test_a_hidden_lock_does_not_stop_the_chain() -> None:
    """malachite#956: a traitor's vote makes the polka that locks one; it told the others two other things."""
    net = MachineNet(4)
    chain_id = net.genesis.compute_chain_id()

    def say(value: bytes | None) -> Vote:
        signature = net.keys[3].sign(vote_sign_bytes(chain_id, PREVOTE, 1, 0, value))
        return Vote(PREVOTE, 1, 0, value, net.keys[3].public_key, signature)

    proposed: list[bytes] = []

    def betray(index: int, effects: list[Effect]) -> list[Effect]:
        """Node 3 says nothing but three prevotes of round 0."""
        if index != 3:
            proposed.extend(
                effect.message.block_hash
                for effect in effects
                if isinstance(effect, Broadcast) and isinstance(effect.message, Proposal)
            )
            return effects
        return [effect for effect in effects if not isinstance(effect, Broadcast | Send)]

    def is_lost(sender: int, receiver: int, message: PeerMessage) -> bool:
        # Node 2 sees no proposal in round 0, and nobody but 0 enough prevotes.
        early = net.nodes[2].machine.core.round < 1
        return early and receiver == 2 and isinstance(message, Proposal | BlockPart)

    net.change_effects, net.is_lost = betray, is_lost
    first = net.nodes[0].machine.ledger.validators.get_proposer(0).public_key
    assert first != net.keys[3].public_key
    net.run_until(lambda: bool(proposed))
    holder = next(index for index in range(3) if net.keys[index].public_key == first)
    others = [index for index in range(3) if index != holder]
    for index in others:
        for value in (None, b"x" * 32):
            net.give(net.nodes[index], Received(net.keys[3].public_key, say(value)))
    net.give(net.nodes[holder], Received(net.keys[3].public_key, say(proposed[0])))
    net.run_until(lambda: all(len(net.nodes[index].chain) >= 3 for index in range(3)), limit_ms=120_000)
    assert len(net.hashes_at(1)) == 1


def test_a_peer_that_runs_ahead_fills_no_memory() -> None:
    """Votes, proposals and blocks of the next height, and votes of rounds far ahead, in bulk."""
    net = MachineNet(4, config=MachineConfig(empty_block_interval_ms=None))
    node, key = net.nodes[0], net.keys[3]
    chain_id = net.genesis.compute_chain_id()
    for number in range(2_000):
        for height in (1, 2):
            value = number.to_bytes(32, "big")
            signature = key.sign(vote_sign_bytes(chain_id, PREVOTE, height, number, value))
            vote = Vote(PREVOTE, height, number, value, key.public_key, signature)
            part = BlockPart(height, bytes(1000))
            for message in (vote, part):
                net.give(node, Received(key.public_key, message))
    gauges = node.machine.gauges()
    assert (gauges.validators, gauges.peers) == (4, 3)
    assert gauges.votes <= 3 * MAX_FUTURE_ROUNDS
    assert gauges.early_messages <= EARLY_MESSAGES_PER_PEER
    assert (gauges.proposals, gauges.blocks, gauges.block_bytes) == (0, 0, 0)
    early = node.machine._early[key.public_key]
    assert sum(isinstance(message, BlockPart) for message in early) <= EARLY_PARTS


def test_gauges_count_what_is_held() -> None:
    net = MachineNet(4)
    net.run_until(net.all_at(20))
    for _ in range(3):
        net.submit(0, make_deposit(len(net.nodes[0].machine.mempool)))
    gauges = net.nodes[0].machine.gauges()
    assert gauges.mempool_transactions == 3
    assert 0 < gauges.mempool_bytes < gauges.mempool_bytes_max
    assert 0 < gauges.past_messages <= HEIGHTS_KEPT * ROUNDS_KEPT * (4 * 2 * 2 + 1)
    assert gauges.votes <= 4 * 2 * 3


class TestSync:
    """A node behind, and peers that lie."""

    def lag(self) -> MachineNet:
        """Four nodes; number 3 was away for 10 blocks and is back, but hears nothing yet."""
        net = MachineNet(4)
        net.run_until(net.all_at(1))
        net.stop(3)
        net.run_until(lambda: min(net.heights()[:3]) >= 11)
        return net

    def corrupt(self, net: MachineNet, how: str) -> None:
        """Nodes 0 and 1 answer sync requests with lies from now on; node 2 is honest."""

        liars = {0, 1}
        send = net._send

        def send_lies(sender: object, receiver: object, message: PeerMessage) -> None:
            if isinstance(message, Blocks) and getattr(sender, "index", -1) in liars:
                message = Blocks(tuple(_lie(final, how) for final in message.blocks))
            send(sender, receiver, message)  # type: ignore[arg-type]

        net._send = send_lies  # type: ignore[method-assign]

    @pytest.mark.parametrize("how", ["signature", "body", "few_signers", "other_block", "garbage"])
    def test_invalid_blocks_of_liars_are_refused_and_another_peer_is_asked(self, how: str) -> None:
        net = self.lag()
        self.corrupt(net, how)
        net.start(3)
        target = max(net.heights()) + 2
        net.run_until(net.all_at(target), limit_ms=300_000)
        assert len(net.hashes_at(target)) == 1
        assert net.nodes[3].halted == ""

    def test_inflated_claim_does_not_stall_a_node(self) -> None:
        net = MachineNet(4)
        net.run_until(net.all_at(1))
        claim = Announcement(2**40, 0, 1, (), (), (), ())
        for node in net.nodes[:3]:
            net.give(node, Received(net.nodes[3].key.public_key, claim))
        net.stop(3)
        net.run_until(net.all_at(6), limit_ms=120_000)

    def test_unasked_blocks_are_passed_over(self) -> None:
        net = MachineNet(3)
        net.run_until(net.all_at(2))
        height = net.heights()[0]
        block, certificate = net.nodes[1].chain[-1]
        net.give(net.nodes[0], Received(net.keys[1].public_key, Blocks((FinalBlock(block.data, certificate),))))
        assert net.heights()[0] == height


def _lie(final: FinalBlock, how: str) -> FinalBlock:
    block = Block.decode(final.data)
    proof = final.certificate
    match how:
        case "signature":
            wrong = tuple(CommitSignature(item.validator, b"s" * 64) for item in proof.signatures)
            return FinalBlock(final.data, msgspec.structs.replace(proof, signatures=wrong))
        case "few_signers":
            return FinalBlock(final.data, msgspec.structs.replace(proof, signatures=proof.signatures[:1]))
        case "body":
            return FinalBlock(Block.create(block.header, [RawTransaction(b"{}", b"s" * 64)]).data, proof)
        case "other_block":
            header = msgspec.structs.replace(block.header, time_ms=block.header.time_ms + 1)
            return FinalBlock(Block.create(header, block.transactions).data, proof)
        case _:
            return FinalBlock(final.data[:-1], proof)


def test_messages_of_strangers_are_passed_over() -> None:
    net = MachineNet(3)
    assert net.nodes[0].machine.step(Received(b"x" * 32, Announcement(5, 0, 1, (), (), (), ())), 0) == []


def test_malformed_gossip_is_reported_and_harmless() -> None:
    net = MachineNet(3)
    gossip = Transactions((RawTransaction(b"not json", b"s" * 64), RawTransaction(b"{}", b"s" * 64)))
    net.give(net.nodes[0], Received(net.keys[1].public_key, gossip))
    assert [report.name for report in net.nodes[0].reports] == ["transaction_refused"] * 2


def test_no_vote_leaves_before_it_is_durable() -> None:
    net = MachineNet(3)
    seen = 0

    def check(index: int, effects: list[Effect]) -> list[Effect]:
        nonlocal seen
        durable = {id(record.message) for record in net.nodes[index].log} if index < len(net.nodes) else set()
        appended: list[Append] = []
        for effect in effects:
            match effect:
                case Append():
                    appended.append(effect)
                case Flush():
                    durable |= {id(item.record.message) for item in appended}
                case Broadcast(Vote() as vote):
                    seen += 1
                    assert id(vote) in durable
                case _:
                    pass
        return effects

    net.change_effects = check
    net.run_until(net.all_at(4))
    assert seen > 0


def test_flushes_are_merged_but_nothing_crosses_a_commit() -> None:
    first, second = Append(Seen(_vote(1))), Append(Seen(_vote(2)))
    commit = Commit(None, None, None)  # type: ignore[arg-type]
    report, send = Report("x"), Send(b"p", _vote(1))
    effects: list[Effect] = [first, Flush(), send, second, Flush(), report, commit, second, Flush(), send]
    assert order_effects(effects) == [first, second, Flush(), send, report, commit, second, Flush(), send]
    assert order_effects([report, first]) == [first, report]


def _vote(height: int) -> Vote:
    return Vote(1, height, 0, None, b"k" * 32, b"s" * 64)
