"""One connection through the proxy: two sockets, and a lane in each direction between them.

The far side is dialled once there is something for it: over a way that is cut no connection comes about, and the
dialler waits in vain. What is for a side that is gone is thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from testbed.proxy.lane import End, Lane, Traffic, Way
from testbed.proxy.pieces import Splitter

MAX_HELD_BYTES = 1024 * 1024
"""More than this waits in the socket of whoever sends it: TCP makes them wait."""

Dial = Callable[[asyncio.Protocol], Any]
"""Connects a protocol to whom the connection is for; awaitable, raises `OSError`."""


class Side(asyncio.Protocol):
    """One socket. What it receives goes into its lane; what comes out of the other's goes to it."""

    def __init__(self, relay: Relay, lane: Lane, splitter: Splitter) -> None:
        self.lane = lane
        self.transport: asyncio.Transport | None = None
        self.is_gone = False
        self.is_full = False
        """Whether its socket takes nothing more for now."""
        self.timer: asyncio.TimerHandle | None = None
        self._relay = relay
        self._splitter = splitter
        self._is_reading = True
        self._has_finished = False
        """Whether it has said that it sends nothing more."""
        self._is_told = False
        """Whether it has been told that the other side sends nothing more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._relay.on_made(self)

    def data_received(self, data: bytes) -> None:
        now = self._relay.loop.time()
        for piece in self._splitter.feed(data):
            self.lane.put(piece, now)
        self._relay.pump(self)

    def eof_received(self) -> bool:
        self._has_finished = True
        self._end(End.EOF)
        return not self._is_told

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        self._end(End.RESET if exc is not None else End.CLOSED)
        self._relay.on_gone(self)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._relay.pump(self._relay.get_other(self))

    def reset(self) -> bool:
        """End this side's connection abruptly; the other side learns of it over the lane. False where there is none."""
        if self.transport is None or self.is_gone:
            return False
        self.lane.put_end(End.RESET, self._relay.loop.time())
        self._relay.pump(self)
        self.transport.abort()
        return True

    def write(self, item: bytes | End) -> None:
        """What came out of the other's lane."""
        assert self.transport is not None, "whoever writes to a side has dialled it"
        if self.transport.is_closing():
            return
        if isinstance(item, bytes):
            self.transport.write(item)
        elif item is End.EOF and not self._has_finished:
            self._is_told = True
            self.transport.write_eof()
        elif item is End.RESET:
            self.transport.abort()
        else:
            self.transport.close()

    def bound(self) -> None:
        """Read no more than the lane may hold."""
        if self.transport is None or self.is_gone:
            return
        if self._is_reading and self.lane.held_bytes > MAX_HELD_BYTES:
            self._is_reading = False
            self.transport.pause_reading()
        elif not self._is_reading and self.lane.held_bytes <= MAX_HELD_BYTES // 2:
            self._is_reading = True
            self.transport.resume_reading()

    def _end(self, end: End) -> None:
        now = self._relay.loop.time()
        for piece in self._splitter.finish():
            self.lane.put(piece, now)
        self.lane.put_end(end, now)
        self._relay.pump(self)


class Relay:
    """A connection from a near side, which has dialled the proxy, to a far side. `on_end` is told once of its end."""

    def __init__(
        self,
        ways: tuple[Way, Way],
        traffic: Traffic,
        dial: Dial,
        on_end: Callable[[Relay], None],
        *,
        is_peer_link: bool,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        there, back = ways
        self.near = Side(self, Lane(there, traffic), Splitter(is_peer_link=is_peer_link))
        self.far = Side(self, Lane(back, traffic), Splitter(is_peer_link=is_peer_link))
        self._dial = dial
        self._on_end = on_end
        self._dialling: asyncio.Task[None] | None = None

    def get_other(self, side: Side) -> Side:
        return self.far if side is self.near else self.near

    def pump(self, source: Side) -> None:
        """Let what is due come out of a side's lane, and come back for the rest."""
        target, lane, now = self.get_other(source), source.lane, self.loop.time()
        if target.transport is None and not target.is_gone:
            due = lane.get_next_due()
            if due is not None and due <= now and not lane.way.cuts and self._dialling is None:
                self._dialling = self.loop.create_task(self._reach())
                self._dialling.add_done_callback(self._tell_failure)
        elif not target.is_full:
            for item in lane.take(now):
                if not target.is_gone:
                    target.write(item)
        source.bound()
        self._come_back(source, now)

    def pump_all(self) -> None:
        self.pump(self.near)
        self.pump(self.far)

    def on_made(self, side: Side) -> None:
        self.pump(self.get_other(side))

    def on_gone(self, side: Side) -> None:
        """Once both are, nothing more will happen here."""
        other = self.get_other(side)
        if other.transport is None and self._dialling is None:
            other.is_gone = True
        if self.near.is_gone and self.far.is_gone:
            self.close()
            self._on_end(self)

    def close(self) -> None:
        """End both sides abruptly, whatever waits."""
        for side in (self.near, self.far):
            if side.timer is not None:
                side.timer.cancel()
            if side.transport is not None:
                side.transport.abort()
        if self._dialling is not None:
            self._dialling.cancel()

    def _come_back(self, source: Side, now: float) -> None:
        """Pieces that are due and held back wait for whoever holds them: a heal, or a socket that takes more."""
        if source.timer is not None:
            source.timer.cancel()
            source.timer = None
        due = source.lane.get_next_due()
        if due is not None and due > now:
            source.timer = self.loop.call_at(due, self.pump, source)

    def _tell_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.loop.call_exception_handler({"message": "a relay cannot be made", "exception": error})

    async def _reach(self) -> None:
        try:
            await self._dial(self.far)
        except OSError:
            # Whoever dialled learns of it as if by the far side itself.
            self.far.is_gone = True
            self.near.reset()
            self.on_gone(self.far)
