"""Links between real endpoints on loopback: who gets one, what closes one, and that nothing crashes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from tana.crypto.keys import KeyPair, verify
from tana.node.handshake import Handshake
from tana.node.links import (
    CLOSE_MALFORMED,
    CLOSE_REFUSED,
    MAX_FRAME_BYTES,
    Address,
    Links,
    LinkTiming,
    get_connection_options,
)
from tana.types.block import RawTransaction
from tana.types.errors import Forbidden
from tana.types.messages import BlockPart, PeerMessage, Transactions
from tests.node.cluster import make_key, wait_until

CHAIN = b"c" * 32
TIMING = LinkTiming(handshake_timeout_ms=300, first_redial_ms=5, max_redial_ms=50)
LOW, MIDDLE, HIGH = sorted((make_key(name) for name in ("one", "two", "three")), key=lambda key: key.public_key)
STRANGER = make_key("stranger")
MESSAGE = BlockPart(1, b"data")


class Endpoint:
    """One node's links with a listener, which notes what happens on them."""

    def __init__(
        self, key: KeyPair, chain_id: bytes = CHAIN, source: str = "", routes: Mapping[Address, Address] | None = None
    ) -> None:
        self.key = key
        self.chain_id = chain_id
        self.admitted = {item.public_key for item in (LOW, MIDDLE, HIGH)}
        self.events: list[tuple[str, bytes]] = []
        self.messages: list[PeerMessage] = []
        self.address: Address = ("127.0.0.1", 0)
        self.refused_places: set[bytes] = set()
        self.links = Links(
            self,
            signer=key,
            chain_id=chain_id,
            verifier=verify,
            is_admitted=self.admitted.__contains__,
            check_place=self.check_place,
            source=source,
            get_route=lambda address: (routes or {}).get(address, address),
            timing=TIMING,
        )

    async def check_place(self, peer: bytes, host: str, port: int) -> None:
        assert (host.startswith("127."), port > 0) == (True, True)
        if peer in self.refused_places:
            raise Forbidden("somebody else's place", code="wrong_identity")

    def on_connected(self, peer: bytes) -> None:
        self.events.append(("connected", peer))

    def on_disconnected(self, peer: bytes) -> None:
        self.events.append(("disconnected", peer))

    def on_message(self, peer: bytes, message: PeerMessage) -> None:
        self.messages.append(message)

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[Endpoint]:
        options = get_connection_options(TIMING)
        async with serve(self.links.accept, self.address[0], self.address[1], **options) as server:
            self.address = ("127.0.0.1", next(iter(server.sockets)).getsockname()[1])
            try:
                yield self
            finally:
                await self.links.close()

    async def wait_peers(self, *keys: KeyPair) -> None:
        async def look() -> bool:
            return set(self.links.peers) == {key.public_key for key in keys}

        await wait_until(look)

    async def wait_messages(self, count: int) -> None:
        async def look() -> bool:
            return len(self.messages) >= count

        await wait_until(look)


@contextlib.asynccontextmanager
async def run_pair() -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    async with Endpoint(LOW).run() as low, Endpoint(HIGH).run() as high:
        low.links.set_addresses({HIGH.public_key: high.address})
        await low.wait_peers(HIGH)
        await high.wait_peers(LOW)
        yield low, high


@contextlib.asynccontextmanager
async def dial(endpoint: Endpoint, key: KeyPair, chain_id: bytes = CHAIN) -> AsyncIterator[ClientConnection]:
    """A raw connection to an endpoint on which the handshake with `key` was carried out."""
    host, port = endpoint.address
    connection = await connect(f"ws://{host}:{port}", compression=None, max_size=None, proxy=None)
    try:
        handshake = Handshake(
            "dialer",
            signer=key,
            chain_id=chain_id,
            challenge=b"a challenge of a test".ljust(32),
            is_admitted=lambda _: True,
            verifier=verify,
        )
        await connection.send(handshake.write_hello())
        handshake.read_hello(await connection.recv(decode=False))
        await connection.send(handshake.write_proof())
        handshake.read_proof(await connection.recv(decode=False))
        yield connection
    finally:
        # The other side may be tearing the connection down right now.
        with contextlib.suppress(AttributeError):
            await connection.close()


async def get_close_code(connection: ClientConnection) -> int | None:
    """How the other side closes the connection, whatever it sends before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.recv()
    return connection.close_code


async def dial_and_get_refused(endpoint: Endpoint, key: KeyPair, chain_id: bytes = CHAIN) -> ConnectionClosed:
    try:
        async with dial(endpoint, key, chain_id):
            raise AssertionError("the link was accepted")
    except ConnectionClosed as closed:
        return closed


def test_messages_travel_both_ways() -> None:
    async def play() -> None:
        async with run_pair() as (low, high):
            low.links.broadcast(MESSAGE)
            high.links.send(LOW.public_key, BlockPart(2, b"x" * 2_000_000))
            high.links.send(STRANGER.public_key, MESSAGE)
            await high.wait_messages(1)
            await low.wait_messages(1)
            assert high.messages == [MESSAGE]
            assert low.messages == [BlockPart(2, b"x" * 2_000_000)]

    asyncio.run(play())


def test_only_the_lower_key_dials() -> None:
    async def play() -> None:
        async with Endpoint(LOW).run() as low, Endpoint(HIGH).run() as high:
            high.links.set_addresses({LOW.public_key: low.address})
            low.links.set_addresses({HIGH.public_key: high.address, LOW.public_key: low.address})
            await high.wait_peers(LOW)
            await low.wait_peers(HIGH)
            refused = await dial_and_get_refused(low, MIDDLE)
            assert refused.rcvd is not None
            assert (refused.rcvd.code, refused.rcvd.reason) == (CLOSE_REFUSED, "wrong_direction")

    asyncio.run(play())


def test_dialer_comes_back_after_the_listener_restarted() -> None:
    async def play() -> None:
        async with Endpoint(LOW).run() as low:
            async with Endpoint(HIGH).run() as high:
                low.links.set_addresses({HIGH.public_key: high.address})
                await low.wait_peers(HIGH)
            await low.wait_peers()
            again = Endpoint(HIGH)
            again.address = high.address
            async with again.run():
                await low.wait_peers(HIGH)
                low.links.broadcast(MESSAGE)
                await again.wait_messages(1)

    asyncio.run(play())


def test_new_address_is_dialed() -> None:
    async def play() -> None:
        async with Endpoint(LOW).run() as low, Endpoint(HIGH).run() as high:
            low.links.set_addresses({HIGH.public_key: ("127.0.0.1", 1)})
            low.links.set_addresses({HIGH.public_key: high.address})
            await low.wait_peers(HIGH)
            low.links.set_addresses({})
            await low.wait_peers()
            await high.wait_peers()

    asyncio.run(play())


def test_newer_link_replaces_the_older() -> None:
    async def play() -> None:
        async with Endpoint(HIGH).run() as high, dial(high, LOW) as first, dial(high, LOW) as second:
            await get_close_code(first)
            await second.send(msgspec.msgpack.encode(MESSAGE))
            await high.wait_messages(1)
            peer = LOW.public_key
            assert high.events == [("connected", peer), ("disconnected", peer), ("connected", peer)]

    asyncio.run(play())


def test_peer_that_is_no_longer_admitted_is_cut_off() -> None:
    async def play() -> None:
        async with run_pair() as (low, high):
            high.admitted.discard(LOW.public_key)
            high.links.drop_unadmitted()
            await high.wait_peers()
            await low.wait_peers()
            assert (await dial_and_get_refused(high, LOW)).rcvd is not None

    asyncio.run(play())


def test_links_say_where_the_other_end_is() -> None:
    async def play() -> None:
        async with run_pair() as (low, high):
            host, port = high.address
            assert low.links.addresses == {HIGH.public_key: f"{host}:{port}"}
            assert high.links.addresses.keys() == {LOW.public_key}

    asyncio.run(play())


def test_links_are_dialed_from_the_address_that_is_asked_for() -> None:
    async def play() -> None:
        async with Endpoint(LOW, source="127.0.0.9").run() as low, Endpoint(HIGH).run() as high:
            low.links.set_addresses({HIGH.public_key: high.address})
            await high.wait_peers(LOW)
            assert high.links.addresses[LOW.public_key].startswith("127.0.0.9:")

    asyncio.run(play())


def test_a_peer_is_dialed_where_its_route_leads() -> None:
    async def play() -> None:
        told: Address = ("127.0.0.1", 1)
        async with Endpoint(HIGH).run() as high, Endpoint(LOW, routes={told: high.address}).run() as low:
            low.links.set_addresses({HIGH.public_key: told})
            await high.wait_peers(LOW)
            await low.wait_peers(HIGH)

    asyncio.run(play())


def test_nothing_is_dialed_from_another_address() -> None:
    """The address of 203.0.113.0/24 is nobody's (RFC 5737): such as ours on a tailnet that we have left."""

    async def play() -> None:
        async with Endpoint(LOW, source="203.0.113.1").run() as low, Endpoint(HIGH).run() as high:
            low.links._addresses[HIGH.public_key] = high.address
            with pytest.raises(OSError, match="assign requested address"):
                await low.links._dial(HIGH.public_key)
            assert high.links.refused_links == 0

    asyncio.run(play())


def test_invalid_place_of_a_dialer() -> None:
    async def play() -> None:
        async with Endpoint(HIGH).run() as high:
            high.refused_places.add(LOW.public_key)
            refused = await dial_and_get_refused(high, LOW)
            assert refused.rcvd is not None
            assert (refused.rcvd.code, refused.rcvd.reason) == (CLOSE_REFUSED, "wrong_identity")
            assert (high.events, high.links.refused_links) == ([], 1)

    asyncio.run(play())


def test_invalid_place_of_a_listener() -> None:
    """The dialer does not even prove itself; once the place is right, it gets its link."""

    async def play() -> None:
        async with Endpoint(LOW).run() as low, Endpoint(HIGH).run() as high:
            low.refused_places.add(HIGH.public_key)
            low.links.set_addresses({HIGH.public_key: high.address})

            async def is_refused() -> bool:
                return low.links.refused_links > 0 and high.links.refused_links > 0

            await wait_until(is_refused)
            assert (low.events, high.events) == ([], [])
            low.refused_places.clear()
            await low.wait_peers(HIGH)

    asyncio.run(play())


def test_invalid_wrong_chain() -> None:
    async def play() -> None:
        async with Endpoint(HIGH).run() as high:
            refused = await dial_and_get_refused(high, LOW, chain_id=b"o" * 32)
            assert refused.rcvd is not None
            assert refused.rcvd.reason == "wrong_chain"
            assert high.events == []

    asyncio.run(play())


def test_invalid_unknown_key() -> None:
    async def play() -> None:
        async with Endpoint(HIGH).run() as high:
            lowest = min((make_key(f"stranger {n}") for n in range(50)), key=lambda key: key.public_key)
            refused = await dial_and_get_refused(high, lowest)
            assert refused.rcvd is not None
            assert refused.rcvd.reason == "unknown_peer"
            assert high.links.refused_links == 1

    asyncio.run(play())


def test_invalid_replayed_handshake() -> None:
    """Everything that an honest dialer once sent, sent again, proves nothing: the listener's challenge is new."""

    async def play() -> None:
        async with Endpoint(HIGH).run() as high:
            recorded: list[bytes] = []
            async with dial(high, LOW) as connection:
                pass
            handshake = Handshake(
                "dialer", signer=LOW, chain_id=CHAIN, challenge=b"r" * 32, is_admitted=lambda _: True, verifier=verify
            )
            host, port = high.address
            for is_replay in (False, True):
                async with connect(f"ws://{host}:{port}", compression=None, proxy=None) as connection:
                    if not is_replay:
                        recorded.append(handshake.write_hello())
                    await connection.send(recorded[0])
                    handshake.read_hello(await connection.recv(decode=False))
                    if not is_replay:
                        recorded.append(handshake.write_proof())
                    await connection.send(recorded[1])
                    if is_replay:
                        assert await get_close_code(connection) == CLOSE_REFUSED
                    else:
                        handshake.read_proof(await connection.recv(decode=False))
            await high.wait_peers()

    asyncio.run(play())


def test_invalid_silent_handshake() -> None:
    async def play() -> None:
        async with Endpoint(HIGH).run() as high:
            host, port = high.address
            async with connect(f"ws://{host}:{port}", proxy=None) as connection:
                assert await get_close_code(connection) == CLOSE_REFUSED

    asyncio.run(play())


async def _send_and_get_closed(data: bytes | str) -> int | None:
    async with Endpoint(HIGH).run() as high, dial(high, LOW) as bad:
        await bad.send(data)
        code = await get_close_code(bad)
        await high.wait_peers()
        # The listener goes on: the next honest peer is served.
        async with dial(high, MIDDLE) as good:
            await good.send(msgspec.msgpack.encode(MESSAGE))
            await high.wait_messages(1)
        assert high.messages == [MESSAGE]
        return code


def test_invalid_garbage_frame() -> None:
    for data in (b"", b"\xc1", b"\x93\xa4vote\x01", msgspec.msgpack.encode(["blocks", 1]), b"\x91" * 100_000):
        assert asyncio.run(_send_and_get_closed(data)) == CLOSE_MALFORMED


def test_invalid_text_frame() -> None:
    assert asyncio.run(_send_and_get_closed("text")) == CLOSE_MALFORMED


def test_invalid_truncated_frame() -> None:
    data = msgspec.msgpack.encode(MESSAGE)
    assert asyncio.run(_send_and_get_closed(data[:-1])) == CLOSE_MALFORMED


def test_invalid_oversized_frame() -> None:
    async def play() -> None:
        async with Endpoint(HIGH).run() as high, dial(high, LOW) as bad:
            await bad.send(b"x" * (MAX_FRAME_BYTES + 1))
            assert await get_close_code(bad) == 1009
            await high.wait_peers()

    asyncio.run(play())


def test_invalid_plain_http_request() -> None:
    async def play() -> None:
        async with Endpoint(HIGH).run() as high:
            reader, writer = await asyncio.open_connection(*high.address)
            writer.write(b"\x16\x03\x01 not even HTTP\r\n\r\n")
            await reader.read()
            writer.close()
            async with dial(high, LOW) as good:
                await good.send(msgspec.msgpack.encode(MESSAGE))
                await high.wait_messages(1)

    asyncio.run(play())


def test_slow_peer_costs_bounded_memory() -> None:
    """A peer that does not read gets the frames that fit the bounds; transactions are dropped before votes."""

    async def play() -> None:
        async with Endpoint(HIGH).run() as high, dial(high, LOW) as deaf:
            deaf.transport.pause_reading()
            await high.wait_peers(LOW)
            batch = Transactions((RawTransaction(b"t" * 1_000_000, b"s" * 64),))
            part = BlockPart(1, b"b" * 1_000_000)
            transport = high.links._links[LOW.public_key].connection.transport
            for _ in range(50):
                high.links.broadcast(batch)
            dropped = high.links.dropped_frames
            assert dropped > 20
            for _ in range(50):
                high.links.broadcast(part)
            assert high.links.dropped_frames - dropped > 20
            assert 8_000_000 < transport.get_write_buffer_size() < 26_000_000
            deaf.transport.abort()

    asyncio.run(play())
