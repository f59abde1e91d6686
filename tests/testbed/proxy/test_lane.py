"""One direction of a connection, on a clock that the test holds: what comes out when, in which order, what never."""

from __future__ import annotations

import random

import pytest

from testbed.backends.base import MAX_RATE
from testbed.proxy.lane import HANDSHAKE_MESSAGES, Conditions, End, Lane, Traffic, Way
from testbed.proxy.pieces import Piece

MESSAGES = [Piece(b"%d" % number, is_message=True) for number in range(200)]
GREETINGS = [Piece(b"hello", is_message=True), Piece(b"proof", is_message=True)]


class Stage:
    """A lane whose handshake is over."""

    def __init__(self, **conditions: float) -> None:
        self.traffic = Traffic(Conditions(**conditions), chance=random.Random(1))  # type: ignore[arg-type]
        self.way = Way()
        self.lane = Lane(self.way, self.traffic)
        for piece in GREETINGS:
            self.lane.put(piece, 0.0)
        self.greeted = self.take(1_000.0)

    def put(self, pieces: list[Piece], now: float = 2_000.0) -> None:
        for piece in pieces:
            self.lane.put(piece, now)

    def take(self, now: float) -> list[bytes | End]:
        return self.lane.take(now)


def list_data(pieces: list[Piece]) -> list[bytes]:
    return [piece.data for piece in pieces]


def test_nothing_wrong_nothing_waits() -> None:
    stage = Stage()
    stage.put(MESSAGES)
    assert stage.take(2_000.0) == list_data(MESSAGES)
    assert stage.lane.get_next_due() is None
    assert (stage.lane.held_bytes, stage.traffic.counts["delayed"]) == (0, 0)


def test_latency_holds_each_message_as_long() -> None:
    stage = Stage(delay_ms_min=100, delay_ms_max=100)
    stage.put(MESSAGES[:1], 2_000.0)
    stage.put(MESSAGES[1:2], 2_000.05)
    assert stage.take(2_000.09) == []
    assert stage.lane.get_next_due() == pytest.approx(2_000.1)
    assert stage.take(2_000.1) == [b"0"]
    assert stage.take(2_000.149) == []
    assert stage.take(2_000.15) == [b"1"]
    assert stage.traffic.counts["delayed"] == 2 + len(GREETINGS)


def test_jitter_keeps_the_order() -> None:
    stage = Stage(delay_ms_max=200)
    stage.put(MESSAGES)
    moments = sorted({due for due, *_ in stage.lane._waiting})
    assert len(moments) > 1, "each takes another time"
    assert stage.take(2_000.2) == list_data(MESSAGES)


def test_a_slow_way_carries_one_after_the_other() -> None:
    stage = Stage(bytes_per_second=1000)
    block = Piece(b"x" * 500, is_message=True)
    stage.put([block, block])
    assert stage.take(2_000.49) == []
    assert stage.take(2_000.5) == [block.data]
    assert stage.take(2_000.99) == []
    assert stage.take(2_001.0) == [block.data]


def test_hurry_lets_out_what_a_slow_way_held_in_order() -> None:
    stage = Stage(bytes_per_second=1)
    stage.put(MESSAGES)
    stage.lane.put_end(End.EOF, 2_000.0)
    stage.lane.hurry(2_000.0)
    assert stage.take(2_000.0) == [*list_data(MESSAGES), End.EOF]


def test_a_cut_holds_everything_the_end_too() -> None:
    stage = Stage()
    stage.way.cuts = 2
    stage.put(MESSAGES[:3])
    stage.lane.put_end(End.RESET, 2_000.0)
    assert stage.take(9_000.0) == []
    stage.way.cuts = 1
    assert stage.take(9_000.0) == [], "cuts add up"
    stage.way.cuts = 0
    assert stage.take(9_000.0) == [b"0", b"1", b"2", End.RESET]
    assert stage.traffic.counts["cut"] == 3


def test_loss_takes_some_messages_and_keeps_the_order_of_the_rest() -> None:
    stage = Stage(loss=0.3)
    stage.put(MESSAGES)
    came = stage.take(2_000.0)
    assert 0 < len(came) < len(MESSAGES)
    assert came == [data for data in list_data(MESSAGES) if data in came]
    assert stage.traffic.counts["lost"] == len(MESSAGES) - len(came)


def test_duplicate_brings_some_twice() -> None:
    stage = Stage(duplicate=0.3)
    stage.put(MESSAGES)
    came = stage.take(2_001.0)
    assert set(came) == set(list_data(MESSAGES))
    assert len(came) == len(MESSAGES) + stage.traffic.counts["duplicated"]
    assert stage.traffic.counts["duplicated"] > 0


def test_reorder_lets_some_be_overtaken() -> None:
    stage = Stage(reorder=0.3)
    stage.put(MESSAGES)
    stage.lane.put_end(End.CLOSED, 2_000.0)
    came = stage.take(2_001.0)
    assert came.pop() is End.CLOSED, "the end overtakes nobody"
    assert came != list_data(MESSAGES)
    assert sorted(came, key=str) == sorted(list_data(MESSAGES), key=str)
    assert stage.traffic.counts["reordered"] > 0


def test_rates_that_add_up_to_more_than_all_let_a_few_through() -> None:
    stage = Stage(loss=1.5)
    stage.put(MESSAGES)
    assert 0 < len(stage.take(2_000.0)) < len(MESSAGES) * 4 * (1 - MAX_RATE)


def test_the_handshake_and_what_keeps_the_connection_are_spared() -> None:
    stage = Stage(loss=1.0, duplicate=1.0, reorder=1.0)
    assert stage.greeted == list_data(GREETINGS)
    assert len(GREETINGS) == HANDSHAKE_MESSAGES
    pings = [Piece(b"ping", is_message=False)] * 50
    stage.put(pings)
    assert stage.take(2_000.0) == list_data(pings)


def test_a_way_is_silent_until_something_comes_through() -> None:
    stage = Stage()
    stage.way.is_silent = True
    stage.put(MESSAGES[:1])
    assert stage.way.is_silent
    stage.take(2_000.0)
    assert not stage.way.is_silent
