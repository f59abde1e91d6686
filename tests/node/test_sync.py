"""Whom a node that is behind asks, and that liars among its peers do not keep it from catching up."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest

from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Mempool
from tana.node.effects import Commit, Report, Send, SetTimer
from tana.node.inputs import Input, PeerConnected, Received, Started, TimerFired
from tana.node.machine import Machine, MachineConfig
from tana.node.sync import BLOCKS_PER_REQUEST, HEIGHTS_PER_REPORT, PAUSE_MS, Sync
from tana.types.block import Block, Certificate, CommitSignature
from tana.types.genesis import Genesis
from tana.types.messages import PRECOMMIT, Announcement, Blocks, BlocksRequest, FinalBlock, vote_sign_bytes
from testbed.simulation.signing import StandInKey, verify_stand_in
from tests.node.machine_net import START_MS, make_genesis, make_keys

KEYS = make_keys(4)
SIGNERS = [StandInKey(key.public_key) for key in KEYS]
A, B = (bytes([number]) * 32 for number in (1, 2))
Answer = Callable[[BlocksRequest], tuple[Blocks, int] | None]
"""What a peer answers to a request, and after how many ms; None where it is silent."""


def ready(*claims: tuple[bytes, int]) -> Sync:
    sync = Sync()
    for peer, height in claims:
        sync.on_connected(peer)
        sync.on_claim(peer, height)
    return sync


def ask(sync: Sync, height: int = 1, now_ms: int = 0) -> bytes | None:
    request = sync.next_request(height, now_ms)
    return request[0] if request else None


class TestRanking:
    def test_nobody_is_asked_who_is_not_ahead(self) -> None:
        assert ready((A, 5)).next_request(5, 0) is None

    def test_one_request_at_a_time_and_no_more_than_was_claimed(self) -> None:
        sync = ready((A, 10), (B, 1000))
        assert sync.next_request(1, 0) == (A, BlocksRequest(1, 9))
        assert sync.next_request(1, 0) is None
        sync.on_answer(A, 9, 10, is_good=True)
        assert sync.next_request(10, 10) == (B, BlocksRequest(10, 9 + BLOCKS_PER_REQUEST))

    def test_who_stalls_is_asked_last(self) -> None:
        sync = ready((A, 99), (B, 99))
        assert ask(sync) == A
        sync.on_timeout()
        assert ask(sync) == B
        sync.on_answer(B, 5, 10, is_good=True)
        assert ask(sync) == B

    def test_who_trickles_is_left_for_who_delivers(self) -> None:
        sync = ready((A, 9999), (B, 9999))
        assert ask(sync, now_ms=0) == A
        sync.on_answer(A, 1, 900, is_good=True)
        assert ask(sync, now_ms=900) == B
        sync.on_answer(B, 64, 920, is_good=True)
        assert [ask(sync, now_ms=920)] == [B]

    def test_wrong_blocks_and_empty_answers_are_disappointments(self) -> None:
        for blocks, is_good in ((3, False), (0, True)):
            sync = ready((A, 99), (B, 99))
            assert ask(sync) == A
            sync.on_answer(A, blocks, 10, is_good=is_good)
            assert ask(sync) == B

    def test_who_answers_nonsense_is_asked_again_after_a_pause(self) -> None:
        sync = ready((A, 99))
        assert ask(sync) == A
        sync.on_answer(A, 0, 10, is_good=False)
        assert ask(sync, now_ms=10) is None
        assert ask(sync, now_ms=9 + PAUSE_MS) is None
        assert ask(sync, now_ms=10 + PAUSE_MS) == A
        sync.on_answer(A, 0, 1000, is_good=False)
        assert ask(sync, now_ms=1000 + PAUSE_MS) is None, "the second pause is longer"
        assert ask(sync, now_ms=900) == A, "the clock was set back"

    def test_a_good_answer_ends_all_pauses(self) -> None:
        sync = ready((A, 99))
        for now_ms in (0, 1000):
            assert ask(sync, now_ms=now_ms) == A
            sync.on_answer(A, 0, now_ms, is_good=False)
        assert ask(sync, now_ms=2000) == A
        sync.on_answer(A, 5, 2000, is_good=True)
        assert ask(sync, now_ms=2000) == A

    def test_a_late_answer_counts_once(self) -> None:
        sync = ready((A, 99), (B, 99))
        ask(sync)
        sync.on_timeout()
        assert ask(sync) == B
        assert sync.is_owed(A)
        sync.on_answer(A, 0, 1500, is_good=True)
        assert not sync.is_owed(A)
        assert sync.is_owed(B)
        assert sync.next_request(1, 1500) is None, "B is still being asked"

    def test_a_claim_that_nobody_can_prove_is_no_target(self) -> None:
        sync = ready((A, 2**40), (B, 99))
        assert sync.find_target() == 2**40 - 1
        assert ask(sync, 50) == A
        sync.on_timeout()
        assert sync.find_target() == 98
        sync.on_claim(A, 2**50)
        assert sync.find_target() == 98

    def test_who_leaves_owes_nothing(self) -> None:
        sync = ready((A, 99), (B, 99))
        ask(sync)
        sync.on_disconnected(A)
        assert not sync.is_owed(A)
        assert ask(sync) == B

    def test_progress_is_reported_once_in_so_many_heights(self) -> None:
        sync = ready((A, 10_001))
        reported = [height for height in range(1, 10_001, 64) if sync.find_progress(height) is not None]
        assert len(reported) == len(range(1, 10_000, HEIGHTS_PER_REPORT))
        assert reported[0] == 1


@dataclass
class Story:
    """A chain that grows, a node behind it, and peers that are as told: by name, what they answer and how late."""

    genesis: Genesis = field(default_factory=lambda: make_genesis(KEYS))
    blocks: list[FinalBlock] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    height: int = 0
    now_ms: int = START_MS

    def __post_init__(self) -> None:
        self.source = Ledger.from_genesis(self.genesis, verify_stand_in)
        ledger = Ledger.from_genesis(self.genesis, verify_stand_in)
        self.machine = Machine(
            MachineConfig(), ledger, Mempool(ledger), None, verify_stand_in, own_key=KEYS[3].public_key
        )
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timers: dict[str, int] = {}
        self.peers: dict[bytes, Answer] = {}

    def grow(self, count: int = 1) -> None:
        ledger = self.source
        for _ in range(count):
            block = ledger.build_block(KEYS[0].public_key, ledger.time_ms + 1, ())
            ledger.commit(block)
            message = vote_sign_bytes(ledger.chain_id, PRECOMMIT, block.height, 0, block.hash)
            signatures = tuple(CommitSignature(key.public_key, key.sign(message)) for key in SIGNERS[:3])
            self.blocks.append(FinalBlock(block.data, Certificate(block.height, 0, block.hash, signatures)))

    def serve(self, request: BlocksRequest) -> Blocks:
        return Blocks(tuple(self.blocks[request.first_height - 1 : request.last_height]))

    def announce(self, peer: bytes, height: int) -> None:
        self.give(Received(peer, Announcement(height, 0, 1, (), (), (), ())))

    def give(self, input: Input) -> None:
        for effect in self.machine.step(input, self.now_ms):
            match effect:
                case Commit(block, _, _):
                    self.height = block.height
                case Report():
                    self.reports.append(effect)
                case SetTimer(timer, delay_ms):
                    number = self._timers[timer.kind] = next(self._order)
                    self.at(delay_ms, lambda timer=timer, number=number: self._fire(timer, number))  # type: ignore[misc]
                case Send(peer, BlocksRequest() as request):
                    answer = self.peers[peer](request)
                    if answer is not None:
                        self.at(answer[1], lambda peer=peer, answer=answer: self.give(Received(peer, answer[0])))  # type: ignore[misc]
                case _:
                    pass

    def _fire(self, timer: object, number: int) -> None:
        kind = timer.kind  # type: ignore[attr-defined]
        if self._timers.get(kind) == number:
            self.give(TimerFired(timer))  # type: ignore[arg-type]

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now_ms + delay_ms, next(self._order), action))

    def run(self, peers: dict[bytes, Answer], growth_ms: int) -> int:
        """Until the node is where the chain is, which grows by a block every so many ms. Returns the ms it took."""
        self.peers = peers
        self.give(Started())
        for peer in peers:
            self.give(PeerConnected(peer))
        began_ms = self.now_ms

        def tick() -> None:
            self.grow()
            for peer in peers:
                self.announce(peer, len(self.blocks) + 1)
            self.at(growth_ms, tick)

        tick()
        # What is left is less than what one answer brings: the tip moves while it is on its way.
        while self.height < len(self.blocks) - BLOCKS_PER_REQUEST // 2:
            at_ms, _, action = heapq.heappop(self._events)
            assert at_ms < began_ms + 600_000, f"at height {self.height} of {len(self.blocks)}"
            self.now_ms = at_ms
            action()
        return self.now_ms - began_ms


def twist(blocks: Blocks, how: str) -> Blocks:
    def change(final: FinalBlock) -> FinalBlock:
        certificate = final.certificate
        if how == "garbage":
            return FinalBlock(b"garbage", certificate)
        if how == "one_signer":
            return FinalBlock(final.data, msgspec.structs.replace(certificate, signatures=certificate.signatures[:1]))
        forged = tuple(CommitSignature(item.validator, b"f" * 64) for item in certificate.signatures)
        return FinalBlock(final.data, msgspec.structs.replace(certificate, signatures=forged))

    return Blocks(tuple(map(change, blocks.blocks)))


def test_ten_thousand_blocks_behind_among_liars_and_three_times_as_fast_as_the_chain() -> None:
    """Two good peers of six, half a link away; the others stall, trickle, forge, and send garbage."""
    story = Story()
    story.grow(10_000)
    peers: dict[bytes, Answer] = {
        b"1" * 32: lambda request: None,
        b"2" * 32: lambda request: (Blocks(story.serve(request).blocks[:1]), 900),
        b"3" * 32: lambda request: (twist(story.serve(request), "garbage"), 1),
        b"4" * 32: lambda request: (twist(story.serve(request), "forged"), 1),
        b"5" * 32: lambda request: (story.serve(request), 60),
        b"6" * 32: lambda request: (story.serve(request), 60),
    }
    growth_ms = 15
    took_ms = story.run(peers, growth_ms)
    grown = took_ms // growth_ms
    assert story.height >= 3 * grown, f"{story.height} blocks while the chain grew by {grown}"
    progress = [report.fields for report in story.reports if report.name == "syncing"]
    assert 10 <= len(progress) <= 2 + len(story.blocks) // HEIGHTS_PER_REPORT
    assert all(0 < row["height"] < row["target"] for row in progress)  # type: ignore[operator]
    tip = Block.decode(story.blocks[story.height - 1].data)
    assert story.machine.ledger.state_root == tip.header.state_root


@pytest.mark.parametrize("how", ["garbage", "one_signer", "forged"])
def test_invalid_blocks_are_refused_and_the_good_peer_is_found(how: str) -> None:
    story = Story()
    story.grow(300)
    peers: dict[bytes, Answer] = {
        b"1" * 32: lambda request: (twist(story.serve(request), how), 1),
        b"2" * 32: lambda request: (twist(story.serve(request), how), 1),
        b"3" * 32: lambda request: (story.serve(request), 20),
    }
    story.run(peers, 1000)
    assert sum(report.name == "sync_refused" for report in story.reports) <= 4


def test_answers_that_take_longer_than_the_timeout_still_take_the_node_on() -> None:
    story = Story()
    story.grow(300)
    late = MachineConfig().sync_timeout_ms * 3 // 2
    peers: dict[bytes, Answer] = {peer: lambda request: (story.serve(request), late) for peer in (A, B)}
    story.run(peers, 10_000)


def test_an_inflated_claim_leaves_the_node_at_work() -> None:
    """cometbft#5801: the claim is no target once its maker has been asked in vain."""
    story = Story()
    story.grow(100)
    peers: dict[bytes, Answer] = {
        A: lambda request: None,
        B: lambda request: (story.serve(request), 5),
    }
    story.give(Started())
    story.peers = peers
    for peer, claim in ((A, 2**40), (B, 101)):
        story.give(PeerConnected(peer))
        story.announce(peer, claim)
    while story.height < 100:
        story.now_ms, _, action = heapq.heappop(story._events)
        action()
    assert story.machine.status().state == "abstaining"


def test_a_liar_that_answers_at_once_is_not_asked_without_end() -> None:
    """Seed 20268 of runs of 30 heights: two messages a millisecond, until the simulator had no memory left."""
    story = Story()
    requests = 0

    def lie(request: BlocksRequest) -> tuple[Blocks, int]:
        nonlocal requests
        requests += 1
        return Blocks((FinalBlock(b"garbage", Certificate(request.first_height, 0, b"h" * 32, ())),)), 1

    story.peers = {A: lie}
    story.give(Started())
    story.give(PeerConnected(A))
    story.announce(A, 1000)
    while story.now_ms < START_MS + 10_000:
        story.now_ms, _, action = heapq.heappop(story._events)
        action()
    assert 2 <= requests <= 40
