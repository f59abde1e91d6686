"""The link proxy of a run: a door for every ordered pair of members, behind which all that passes fares as faults wish.

It lives in a thread of its own with an event loop of its own, and ends with the harness however that ends. What is
wished from outside is done, and has an effect on the very next byte, when the call returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import uvloop

from tana.node.links import Address
from tana.types.errors import Unavailable
from testbed.backends.base import MESH, Pair
from testbed.ports import HOST
from testbed.proxy.lane import Traffic, Way
from testbed.proxy.relay import Relay

T = TypeVar("T")
BACKLOG = 64


@dataclass(frozen=True)
class _Door:
    """Where `pair[0]` dials to reach `pair[1]`, which listens at `target`."""

    pair: Pair
    target: Address
    listener: socket.socket


class LinkProxy:
    """See `Cuts` and `Links` in `testbed.backends.base`.

    `targets` are the addresses at which members listen, by (who dials, whom). Raises `Unavailable` where the system has
    no more ports. `stop` ends it and all connections through it.
    """

    unit = "messages"

    def __init__(self, targets: Mapping[Pair, Address], seed: str) -> None:
        self._doors: dict[Pair, _Door] = {}
        self._ways: dict[Pair, Way] = {}
        self._relays: dict[Relay, Pair] = {}
        self._servers: list[asyncio.Server] = []
        self._traffic = Traffic(chance=random.Random(f"{seed}/links"))
        self._failure = ""
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._loop.set_exception_handler(self._note_failure)
        self._thread = threading.Thread(target=self._loop.run_forever, name="link-proxy", daemon=True)
        try:
            for pair, target in targets.items():
                self._doors[pair] = _Door(pair, target, _listen())
                self._ways.setdefault(pair, Way())
                self._ways.setdefault((pair[1], pair[0]), Way())
        except OSError as error:
            for door in self._doors.values():
                door.listener.close()
            self._loop.close()
            raise Unavailable(
                f"no free port was found for the link proxy: {error.strerror}",
                remedy="stop what listens on this machine",
                code="no_free_port",
            ) from None
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def get_address(self, pair: Pair) -> Address:
        """Where the first of the pair dials to reach the second."""
        host, port = self._doors[pair].listener.getsockname()[:2]
        return host, port

    def stop(self) -> None:
        """May be called twice."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ------------------------------------------------------------------ Cuts

    def cut(self, pairs: Sequence[Pair]) -> None:
        self._do(lambda: self._cut(pairs))

    def heal(self, pairs: Sequence[Pair]) -> None:
        self._do(lambda: self._heal(pairs))

    def carries(self, pair: Pair) -> bool:
        way = self._ways[pair]
        return self._do(lambda: not (way.cuts or way.is_silent))

    def count_cut(self) -> int:
        return self.count("cut")

    # ------------------------------------------------------------------ Links

    def change_rate(self, kind: str, by: float) -> None:
        conditions = self._traffic.conditions
        self._do(lambda: setattr(conditions, kind, round(getattr(conditions, kind) + by, 6)))

    def change_delay(self, least_by_ms: int, most_by_ms: int) -> None:
        self._do(lambda: self._change_delay(least_by_ms, most_by_ms))

    def count(self, what: str) -> int:
        return self._do(lambda: self._traffic.counts[what])

    def reset(self, pairs: Sequence[Pair]) -> int:
        return self._do(lambda: self._reset(pairs))

    def limit(self, bytes_per_second: int) -> None:
        self._do(lambda: self._limit(bytes_per_second))

    # ------------------------------------------------------------------ inside, in the thread

    def _cut(self, pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            self._ways[pair].cuts += 1
            self._ways[pair].is_silent = True

    def _heal(self, pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            assert self._ways[pair].cuts > 0, f"{pair} is not cut"
            self._ways[pair].cuts -= 1
        self._pump_all()

    def _reset(self, pairs: Sequence[Pair]) -> int:
        count = 0
        for one, other in pairs:
            for relay, (dialler, target) in list(self._relays.items()):
                if {one, other} == {dialler, target}:
                    side = relay.near if one == dialler else relay.far
                    count += side.reset()
            self._ways[one, other].is_silent = self._ways[other, one].is_silent = True
        return count

    def _change_delay(self, least_by_ms: int, most_by_ms: int) -> None:
        self._traffic.conditions.delay_ms_min += least_by_ms
        self._traffic.conditions.delay_ms_max += most_by_ms

    def _limit(self, bytes_per_second: int) -> None:
        self._traffic.conditions.bytes_per_second = bytes_per_second
        now = self._loop.time()
        for way in self._ways.values():
            way.free_at = now
        for relay in self._relays:
            relay.near.lane.hurry(now)
            relay.far.lane.hurry(now)
        self._pump_all()

    def _pump_all(self) -> None:
        for relay in list(self._relays):
            relay.pump_all()

    async def _open(self) -> None:
        for door in self._doors.values():
            server = await self._loop.create_server(self._make_acceptor(door), sock=door.listener, backlog=BACKLOG)
            self._servers.append(server)

    def _make_acceptor(self, door: _Door) -> Callable[[], asyncio.Protocol]:
        ways = (self._ways[door.pair], self._ways[door.pair[1], door.pair[0]])

        def accept() -> asyncio.Protocol:
            relay = Relay(
                ways,
                self._traffic,
                lambda side: self._loop.create_connection(lambda: side, *door.target),
                self._forget,
                is_peer_link=MESH not in door.pair,
            )
            self._relays[relay] = door.pair
            return relay.near

        return accept

    def _forget(self, relay: Relay) -> None:
        self._relays.pop(relay, None)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for relay in list(self._relays):
            relay.close()
        # One turn for the sockets to be closed in.
        await asyncio.sleep(0)

    def _note_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        self._failure = self._failure or repr(context.get("exception") or context.get("message"))

    def _do(self, action: Callable[[], T]) -> T:
        """Do it in the thread. Raises `Unavailable` where something in there has failed."""

        async def act() -> T:
            return action()

        result = asyncio.run_coroutine_threadsafe(act(), self._loop).result()
        if self._failure:
            raise Unavailable(f"the link proxy failed: {self._failure}", remedy="report it: this is a bug")
        return result


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        listener.bind((HOST, 0))
        listener.listen(BACKLOG)
        listener.setblocking(False)
        stack.pop_all()
    return listener
