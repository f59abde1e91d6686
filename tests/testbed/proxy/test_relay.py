"""A relay between two sockets that are none: who is read, and who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from testbed.proxy.lane import Traffic, Way
from testbed.proxy.relay import MAX_HELD_BYTES, Relay, Side

THERE, BACK = 0, 1


class FakeTransport:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_reading = True
        self.end = ""

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def write_eof(self) -> None:
        self.end = "eof"

    def close(self) -> None:
        self.end = "closed"

    def abort(self) -> None:
        self.end = "aborted"

    def is_closing(self) -> bool:
        return self.end in ("closed", "aborted")

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Stage:
    """A relay of a stream of any kind, whose far side is reached at once."""

    def __init__(self) -> None:
        self.ways = (Way(), Way())
        self.ended: list[Relay] = []
        self.relay = Relay(self.ways, Traffic(), self._dial, self.ended.append, is_peer_link=False)
        self.near, self.far = FakeTransport(), FakeTransport()
        connect(self.relay.near, self.near)

    async def settle(self) -> None:
        """Wait until whoever dials has come to an end."""
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    async def _dial(self, side: Any) -> None:
        connect(side, self.far)


def connect(side: Side, transport: FakeTransport) -> None:
    side.connection_made(transport)  # type: ignore[arg-type]


def play(story: Callable[[Stage], Any]) -> None:
    async def run() -> None:
        await story(Stage())

    asyncio.run(run())


def test_the_far_side_is_dialled_for_the_first_byte() -> None:
    async def story(stage: Stage) -> None:
        await stage.settle()
        assert stage.relay.far.transport is None
        stage.relay.near.data_received(b"hello")
        await stage.settle()
        assert stage.far.written == [b"hello"]

    play(story)


def test_a_sender_into_a_cut_is_made_to_wait() -> None:
    async def story(stage: Stage) -> None:
        stage.ways[THERE].cuts = 1
        stage.relay.near.data_received(b"x" * MAX_HELD_BYTES)
        assert stage.near.is_reading
        stage.relay.near.data_received(b"y")
        assert not stage.near.is_reading
        stage.ways[THERE].cuts = 0
        stage.relay.pump_all()
        await stage.settle()
        assert b"".join(stage.far.written) == b"x" * MAX_HELD_BYTES + b"y"
        assert stage.near.is_reading

    play(story)


def test_a_receiver_that_takes_nothing_makes_the_sender_wait() -> None:
    async def story(stage: Stage) -> None:
        stage.relay.near.data_received(b"a")
        await stage.settle()
        stage.relay.far.pause_writing()
        stage.relay.near.data_received(b"b" * (MAX_HELD_BYTES + 1))
        assert not stage.near.is_reading
        assert stage.far.written == [b"a"]
        stage.relay.far.resume_writing()
        assert stage.near.is_reading
        assert len(stage.far.written) == 2

    play(story)


def test_what_is_for_a_side_that_is_gone_is_thrown_away() -> None:
    async def story(stage: Stage) -> None:
        stage.relay.near.data_received(b"hello")
        await stage.settle()
        stage.ways[THERE].cuts = 1
        stage.relay.near.connection_lost(None)
        stage.relay.far.data_received(b"x" * 10)
        assert (stage.near.written, stage.far.end) == ([], "")
        assert stage.relay.far.lane.held_bytes == 0
        stage.ways[THERE].cuts = 0
        stage.relay.pump_all()
        assert stage.far.end == "closed"
        assert not stage.ended
        stage.relay.far.connection_lost(None)
        assert stage.ended == [stage.relay]

    play(story)


def test_a_dialler_that_gives_up_before_anything_passed_leaves_nothing() -> None:
    async def story(stage: Stage) -> None:
        stage.ways[THERE].cuts = 1
        stage.relay.near.data_received(b"hello")
        stage.relay.near.connection_lost(None)
        assert stage.ended == [stage.relay]
        stage.ways[THERE].cuts = 0
        stage.relay.pump_all()
        await stage.settle()
        assert stage.relay.far.transport is None

    play(story)


def test_a_reset_is_told_as_such() -> None:
    async def story(stage: Stage) -> None:
        stage.relay.near.data_received(b"hello")
        await stage.settle()
        assert stage.relay.near.reset()
        assert (stage.near.end, stage.far.end) == ("aborted", "aborted")
        stage.relay.near.connection_lost(None)
        assert not stage.relay.near.reset(), "there is nothing left to reset"

    play(story)


def test_both_directions_ended_closes_both() -> None:
    async def story(stage: Stage) -> None:
        stage.relay.near.data_received(b"hello")
        await stage.settle()
        assert stage.relay.near.eof_received()
        assert stage.far.end == "eof"
        assert not stage.relay.far.eof_received(), "its transport closes itself"
        assert stage.near.end == "closed"

    play(story)
