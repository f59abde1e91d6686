"""Simulated links: what they carry, lose, double, overtake and cut, and that every fault of them can be taken back."""

from __future__ import annotations

from tana.types.messages import BlocksRequest, PeerMessage
from testbed.simulation.network import Network
from testbed.simulation.scheduler import Scheduler


class Listener:
    """An endpoint that writes down what arrives."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.chain_id = b"chain"
        self.is_alive = True
        self.seen: list[object] = []

    def on_connected(self, peer: bytes) -> None:
        self.seen.append(("up", peer))

    def on_disconnected(self, peer: bytes) -> None:
        self.seen.append(("down", peer))

    def on_message(self, peer: bytes, message: PeerMessage) -> None:
        assert isinstance(message, BlocksRequest)
        self.seen.append(message.first_height)


def test_links_keep_the_order_and_lose_what_is_under_way() -> None:
    scheduler = Scheduler(0)
    network = Network(scheduler, "3")
    one, two = Listener(b"1"), Listener(b"2")
    network.join(one)
    network.join(two)
    scheduler.run_until(10)
    assert (one.seen, two.seen) == ([("up", b"2")], [("up", b"1")])
    for number in range(1, 50):
        network.send(one, b"2", BlocksRequest(number, number))
    scheduler.run_until(20)
    assert two.seen[1:] == list(range(1, 50))
    network.broadcast(one, BlocksRequest(77, 77))
    one.is_alive = False
    network.leave(one)
    scheduler.run_until(40)
    assert two.seen[-1] == ("down", b"1"), "the last message died with its sender"


def make_pair() -> tuple[Scheduler, Network, Listener, Listener]:
    scheduler = Scheduler(0)
    network = Network(scheduler, "3")
    one, two = Listener(b"1"), Listener(b"2")
    network.join(one)
    network.join(two)
    scheduler.run_until(10)
    return scheduler, network, one, two


def test_a_slow_link_carries_one_message_after_the_other() -> None:
    scheduler, network, one, two = make_pair()
    network.send(one, b"2", BlocksRequest(1, 1))
    scheduler.run_until(20)
    assert two.seen[1:] == [1]
    network.conditions.bytes_per_second = 1
    network.send(one, b"2", BlocksRequest(2, 2))
    network.send(one, b"2", BlocksRequest(3, 3))
    times = []
    while len(two.seen) < 4:
        scheduler.run_until(scheduler.now_ms + 1_000)
        times.append(len(two.seen))
    assert (times.count(2) > 1, times.count(3) > 1) == (True, True), (
        "the second waits for the first, and then for itself"
    )
    network.conditions.bytes_per_second = 0
    network.send(one, b"2", BlocksRequest(4, 4))
    scheduler.run_until(scheduler.now_ms + 10)
    assert two.seen[-1] == 4


def test_a_reset_link_is_noticed_and_made_again() -> None:
    scheduler, network, one, two = make_pair()
    assert network.reset_links([(b"1", b"2"), (b"1", b"nobody")]) == 1
    scheduler.run_until(40)
    assert one.seen == [("up", b"2"), ("down", b"2"), ("up", b"2")]
    assert two.seen == [("up", b"1"), ("down", b"1"), ("up", b"1")]
