"""Links between simulated nodes: frames arrive late by a small seeded delay, in order, or not at all when a node dies.

Every message is encoded once and decoded by each receiver, as on real links, so that nodes share no objects.
"""

from __future__ import annotations

import random
from typing import Protocol

import msgspec

from tana.types.messages import PeerMessage
from testbed.backends.virtual_time import Scheduler

MIN_DELAY_MS, MAX_DELAY_MS = 1, 4
CONNECT_MS = 5
"""Until two nodes notice that their link is up, or gone."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[PeerMessage] = msgspec.msgpack.Decoder(PeerMessage)


class Endpoint(Protocol):
    """A node with a running machine."""

    @property
    def key(self) -> bytes: ...

    @property
    def chain_id(self) -> bytes: ...

    def on_connected(self, peer: bytes) -> None: ...

    def on_disconnected(self, peer: bytes) -> None: ...

    def on_message(self, peer: bytes, message: PeerMessage) -> None: ...


class Network:
    """All links. A link exists between any two endpoints of one chain that have joined and are admitted."""

    def __init__(self, scheduler: Scheduler, seed: int) -> None:
        self._scheduler = scheduler
        self._random = random.Random(f"{seed}/network")
        self._endpoints: dict[bytes, Endpoint] = {}
        self._arrival_ms: dict[tuple[bytes, bytes], int] = {}

    def join(self, endpoint: Endpoint) -> None:
        """A node listens and dials from now on."""
        others = [other for other in self._endpoints.values() if other.chain_id == endpoint.chain_id]
        self._endpoints[endpoint.key] = endpoint
        for other in others:
            self._notify_link(endpoint, other)

    def leave(self, key: bytes) -> None:
        """A node is gone: what is on its way to or from it is lost, and its peers notice."""
        gone = self._endpoints.pop(key)
        for other in self._endpoints.values():
            if other.chain_id == gone.chain_id:
                self._notify_loss(other, key)

    def broadcast(self, source: Endpoint, message: PeerMessage) -> None:
        data = _encoder.encode(message)
        for key, endpoint in list(self._endpoints.items()):
            if key != source.key and endpoint.chain_id == source.chain_id:
                self._carry(source, endpoint, data)

    def send(self, source: Endpoint, peer: bytes, message: PeerMessage) -> None:
        endpoint = self._endpoints.get(peer)
        if endpoint is not None:
            self._carry(source, endpoint, _encoder.encode(message))

    def _carry(self, source: Endpoint, target: Endpoint, data: bytes) -> None:
        link = (source.key, target.key)
        earliest_ms = self._scheduler.now_ms + self._random.randint(MIN_DELAY_MS, MAX_DELAY_MS)
        arrival_ms = max(earliest_ms, self._arrival_ms.get(link, 0))
        self._arrival_ms[link] = arrival_ms

        def arrive() -> None:
            if self._is_up(source) and self._is_up(target):
                target.on_message(source.key, _decoder.decode(data))

        self._scheduler.call_at(arrival_ms, arrive)

    def _notify_link(self, one: Endpoint, other: Endpoint) -> None:
        def connect() -> None:
            if self._is_up(one) and self._is_up(other):
                one.on_connected(other.key)
                other.on_connected(one.key)

        self._scheduler.call_after(CONNECT_MS, connect)

    def _notify_loss(self, endpoint: Endpoint, peer: bytes) -> None:
        def disconnect() -> None:
            if self._is_up(endpoint):
                endpoint.on_disconnected(peer)

        self._scheduler.call_after(CONNECT_MS, disconnect)

    def _is_up(self, endpoint: Endpoint) -> bool:
        """Whether this very incarnation of a node is there: a restarted node is another endpoint."""
        return self._endpoints.get(endpoint.key) is endpoint
