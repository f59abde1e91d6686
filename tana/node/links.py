"""Links to peers: WebSocket connections that carry msgpack frames after a mutual handshake.

Rules:
1. A peer is its node key. There is at most one link per peer; a newer one replaces an older one (the peer restarted).
2. The node with the lower key dials, so that two nodes never meet half-way with two links.
3. What waits to be sent to a peer is bounded. Over the first bound blocks for sync and transactions are dropped, over
   the second everything: the protocol announces what it holds and sends again, so a lost frame costs time only.
4. A peer that sends what cannot be decoded, or a frame over `MAX_FRAME_BYTES`, loses its link. One that sends
   faster than its share is read more slowly, and TCP makes it wait.
5. Where a network knows whose an address is (`check_place`), it must agree with the key's owner before this node proves
   itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import structlog
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, wait_random_exponential
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection, broadcast
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from tana.crypto.keys import Signer, Verifier
from tana.node.handshake import CHALLENGE_BYTES, Handshake, Role
from tana.types.errors import Forbidden, InvalidInput, TanaError
from tana.types.messages import Blocks, PeerMessage, Transactions, decode_message

MAX_FRAME_BYTES = 8 * 1024 * 1024
DROPPABLE_OVER_BYTES = 8 * 1024 * 1024
EVERYTHING_OVER_BYTES = 24 * 1024 * 1024
MAX_PENDING_HANDSHAKES = 32
FRAMES_PER_SECOND = 20_000
BYTES_PER_SECOND = 128 * 1024 * 1024

CLOSE_REFUSED = 4001
CLOSE_MALFORMED = 4002
CLOSE_REPLACED = 4003
CLOSE_NOT_ADMITTED = 4004
CLOSE_STOPPING = 1001

_MAX_REMEMBERED_REFUSALS = 256

_encoder = msgspec.msgpack.Encoder()
_log = structlog.get_logger()


class LinkEvents(Protocol):
    """Who is told what happens on the links. None of these may raise or wait."""

    def on_connected(self, peer: bytes) -> None: ...

    def on_disconnected(self, peer: bytes) -> None: ...

    def on_message(self, peer: bytes, message: PeerMessage) -> None: ...


@dataclass(frozen=True)
class LinkTiming:
    """Timing of links, in ms."""

    handshake_timeout_ms: int = 5_000
    first_redial_ms: int = 50
    max_redial_ms: int = 2_000
    close_timeout_ms: int = 500


Address = tuple[str, int]

PlaceCheck = Callable[[bytes, str, int], Awaitable[None]]
"""Raises a `TanaError` where the peer of this key must not speak from this address and port."""


class Links:
    """All links of a node. `accept` serves one incoming connection; `set_addresses` says whom to dial and where.

    `source` is the address of this node that it dials from; without it the system chooses. `get_route` says where to
    dial a peer that listens at an address.
    """

    def __init__(
        self,
        events: LinkEvents,
        *,
        signer: Signer,
        chain_id: bytes,
        verifier: Verifier,
        is_admitted: Callable[[bytes], bool],
        check_place: PlaceCheck | None = None,
        source: str = "",
        get_route: Callable[[Address], Address] = lambda address: address,
        timing: LinkTiming = LinkTiming(),
    ) -> None:
        self._signer = signer
        self._chain_id = chain_id
        self._verifier = verifier
        self._is_admitted = is_admitted
        self._check_place = check_place
        self._source = (source, 0) if source else None
        self._get_route = get_route
        self._events = events
        self._timing = timing
        self._links: dict[bytes, _Link] = {}
        self._addresses: dict[bytes, Address] = {}
        self._dialers: dict[bytes, asyncio.Task[None]] = {}
        self._wakers: dict[bytes, asyncio.Event] = {}
        self._pending_handshakes = 0
        self._refusals: dict[tuple[str, str], None] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.dropped_frames = 0
        self.refused_links = 0

    @property
    def peers(self) -> tuple[bytes, ...]:
        """The keys of the peers that have a link now, sorted."""
        return tuple(sorted(self._links))

    @property
    def addresses(self) -> dict[bytes, str]:
        """The other end of each link, as `host:port`."""
        return {peer: _format_address(link.connection) for peer, link in self._links.items()}

    def send(self, peer: bytes, message: PeerMessage) -> None:
        """Send to one peer; without a link, nothing happens."""
        link = self._links.get(peer)
        if link is not None:
            self._write((link,), message)

    def broadcast(self, message: PeerMessage) -> None:
        """Send to every peer; encoded once."""
        if self._links:
            self._write(self._links.values(), message)

    def set_addresses(self, addresses: Mapping[bytes, Address]) -> None:
        """Whom to keep a link to, and where they listen. A new or changed address is dialed at once."""
        wanted = {key: address for key, address in addresses.items() if key > self._signer.public_key}
        for key in self._dialers.keys() - wanted.keys():
            self._dialers.pop(key).cancel()
        for key, address in wanted.items():
            if self._addresses.get(key) != address:
                self._wakers.setdefault(key, asyncio.Event()).set()
            self._addresses[key] = address
            if key not in self._dialers:
                self._wakers.setdefault(key, asyncio.Event())
                self._dialers[key] = asyncio.create_task(self._keep_connected(key))

    def redial(self) -> None:
        """Dial at once whoever is not connected: their addresses were heard of again."""
        for key, waker in self._wakers.items():
            if key not in self._links:
                waker.set()

    def drop_unadmitted(self) -> None:
        """Close the links of peers that may no longer have one. Nothing of them is heard from now on."""
        for peer in [key for key in self._links if not self._is_admitted(key)]:
            link = self._links[peer]
            self._remove(peer, link)
            self._close_later(link.connection, CLOSE_NOT_ADMITTED, "no longer admitted")
            _log.info("peer_dropped", peer=peer.hex()[:16], reason="no longer admitted")

    async def accept(self, connection: ServerConnection) -> None:
        """Serve one incoming connection until it ends."""
        if self._pending_handshakes >= MAX_PENDING_HANDSHAKES:
            await _close(connection, CLOSE_REFUSED, "too many handshakes at once")
            return
        self._pending_handshakes += 1
        try:
            peer = await self._shake_hands(connection, "listener", None)
        except (TanaError, ConnectionClosed, TimeoutError) as error:
            await self._refuse(connection, _get_host(connection), error)
            return
        finally:
            self._pending_handshakes -= 1
        await self._serve(peer, connection)

    async def close(self) -> None:
        """End every link and every attempt to make one."""
        tasks = [*self._dialers.values(), *self._closing]
        for task in self._dialers.values():
            task.cancel()
        self._dialers.clear()
        closings = [_close(link.connection, CLOSE_STOPPING, "stopping") for link in list(self._links.values())]
        await asyncio.gather(*closings, *tasks, return_exceptions=True)

    def _write(self, links: Iterable[_Link], message: PeerMessage) -> None:
        data = _encoder.encode(message)
        bound = DROPPABLE_OVER_BYTES if isinstance(message, Blocks | Transactions) else EVERYTHING_OVER_BYTES
        ready = [link.connection for link in links if link.waiting_bytes + len(data) <= bound]
        self.dropped_frames += len(tuple(links)) - len(ready)
        # Despite its name also the way to send to one: it writes at once, without a task or an await per frame.
        broadcast(ready, data)

    async def _shake_hands(self, connection: Connection, role: Role, expected: bytes | None) -> bytes:
        handshake = Handshake(
            role,
            signer=self._signer,
            chain_id=self._chain_id,
            challenge=secrets.token_bytes(CHALLENGE_BYTES),
            is_admitted=self._is_admitted,
            verifier=self._verifier,
            expected_peer=expected,
        )
        async with asyncio.timeout(self._timing.handshake_timeout_ms / 1000):
            if role == "dialer":
                await connection.send(handshake.write_hello())
                handshake.read_hello(await _receive(connection))
                await self._check_peer_place(handshake.peer, connection)
                await connection.send(handshake.write_proof())
                handshake.read_proof(await _receive(connection))
                return handshake.peer
            handshake.read_hello(await _receive(connection))
            if handshake.peer > self._signer.public_key:
                raise Forbidden("the node with the lower key dials", code="wrong_direction")
            await connection.send(handshake.write_hello())
            handshake.read_proof(await _receive(connection))
            await self._check_peer_place(handshake.peer, connection)
            await connection.send(handshake.write_proof())
        return handshake.peer

    async def _check_peer_place(self, peer: bytes, connection: Connection) -> None:
        if self._check_place is not None:
            host, port = connection.remote_address[:2]
            await self._check_place(peer, host, port)

    async def _serve(self, peer: bytes, connection: Connection) -> None:
        """Read an established link until it ends."""
        older = self._links.get(peer)
        if older is not None:
            self._remove(peer, older)
            self._close_later(older.connection, CLOSE_REPLACED, "replaced by a newer link")
        link = _Link(connection)
        self._links[peer] = link
        self._refusals.clear()
        _log.info("peer_connected", peer=peer.hex()[:16], peers=len(self._links))
        try:
            self._events.on_connected(peer)
            await self._read(peer, link)
        except (ConnectionClosed, InvalidInput) as error:
            await self._end(peer, connection, error)
        except asyncio.CancelledError:
            connection.transport.abort()
            raise
        finally:
            if self._links.get(peer) is link:
                self._remove(peer, link)

    async def _read(self, peer: bytes, link: _Link) -> None:
        while True:
            data = await link.connection.recv(decode=False)
            await link.wait_for_turn(len(data))
            message = decode_message(data)
            if self._links.get(peer) is not link:
                return
            self._events.on_message(peer, message)

    async def _end(self, peer: bytes, connection: Connection, error: Exception) -> None:
        if isinstance(error, InvalidInput):
            _log.warning("peer_malformed_frame", peer=peer.hex()[:16], reason=error.message[:200])
            await _close(connection, CLOSE_MALFORMED, "malformed frame")
            return
        assert isinstance(error, ConnectionClosed)
        reason = error.sent or error.rcvd
        _log.info("peer_disconnected", peer=peer.hex()[:16], reason=str(reason) if reason else "connection lost")

    def _remove(self, peer: bytes, link: _Link) -> None:
        assert self._links[peer] is link, "a link is removed once"
        del self._links[peer]
        self._events.on_disconnected(peer)

    async def _refuse(self, connection: Connection, host: str, error: Exception) -> None:
        self.refused_links += 1
        code = error.code if isinstance(error, TanaError) else type(error).__name__
        reason = error.message if isinstance(error, TanaError) else "the handshake did not finish"
        if self._is_news(host, code):
            _log.warning("peer_refused", host=host, code=code, reason=reason)
        await _close(connection, CLOSE_REFUSED, code)

    def _is_news(self, host: str, code: str) -> bool:
        """Whether a refusal is worth a line: the same one again is not."""
        if (host, code) in self._refusals:
            return False
        if len(self._refusals) >= _MAX_REMEMBERED_REFUSALS:
            self._refusals.clear()
        self._refusals[host, code] = None
        return True

    async def _keep_connected(self, peer: bytes) -> None:
        """Dial one peer again and again, with growing pauses, for as long as it is wanted."""
        waker = self._wakers[peer]
        while True:
            waker.clear()
            retrying = AsyncRetrying(
                wait=wait_random_exponential(self._timing.first_redial_ms / 1000, self._timing.max_redial_ms / 1000),
                stop=lambda _: waker.is_set(),
                retry=retry_if_exception_type((OSError, ValueError, WebSocketException, TanaError)),
                sleep=lambda seconds: _wait_briefly(waker, seconds),
            )
            try:
                connection: Connection = await retrying(self._dial, peer)
            except RetryError:
                continue  # woken up: the pauses begin small again
            await self._serve(peer, connection)
            await _wait_briefly(waker, self._timing.first_redial_ms / 1000)

    async def _dial(self, peer: bytes) -> Connection:
        host, port = self._get_route(self._addresses[peer])
        options = get_connection_options(self._timing) | {"local_addr": self._source, "proxy": None}
        connection = await connect(f"ws://{_bracket(host)}:{port}", **options)
        try:
            await self._shake_hands(connection, "dialer", peer)
        except (TanaError, ConnectionClosed, TimeoutError) as error:
            await self._refuse(connection, f"{host}:{port}", error)
            raise
        except asyncio.CancelledError:
            connection.transport.abort()
            raise
        return connection

    def _close_later(self, connection: Connection, code: int, reason: str) -> None:
        task = asyncio.create_task(_close(connection, code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _Link:
    """An established connection and the allowance that bounds how fast it is read."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._free_at = self._loop.time()

    @property
    def waiting_bytes(self) -> int:
        """What the socket has not taken yet."""
        return self.connection.transport.get_write_buffer_size()

    async def wait_for_turn(self, size_bytes: int) -> None:
        """Wait while the peer is more than one second ahead of its allowance."""
        now = self._loop.time()
        self._free_at = max(self._free_at, now) + 1 / FRAMES_PER_SECOND + size_bytes / BYTES_PER_SECOND
        if self._free_at > now + 1:
            await asyncio.sleep(self._free_at - now - 1)


def get_connection_options(timing: LinkTiming) -> dict[str, Any]:
    """Options of the WebSocket library that both sides of a link use."""
    return {
        "compression": None,
        "max_size": MAX_FRAME_BYTES,
        "max_queue": 64,
        "open_timeout": timing.handshake_timeout_ms / 1000,
        "close_timeout": timing.close_timeout_ms / 1000,
        "ping_interval": 10,
        "ping_timeout": 10,
    }


async def _receive(connection: Connection) -> bytes:
    data = await connection.recv(decode=False)
    assert isinstance(data, bytes)
    return data


async def _close(connection: Connection, code: int, reason: str) -> None:
    # Closing what the other side tears down at this moment can fail in many ways, and none of them matters.
    with contextlib.suppress(Exception):
        await connection.close(code, reason)


async def _wait_briefly(waker: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waker.wait(), seconds)


def _get_host(connection: Connection) -> str:
    address = connection.remote_address
    return str(address[0]) if address else "unknown"


def _format_address(connection: Connection) -> str:
    host, port = connection.remote_address[:2]
    return f"{_bracket(host)}:{port}"


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
