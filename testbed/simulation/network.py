"""Links between simulated nodes, and everything that can be wrong with them.

A link exists between any two endpoints of one chain that have joined and admit each other. What travels over it may
come late, twice, out of order or not at all; a cut takes one direction away. `Conditions` hold the rates, which faults
change while the simulation runs. With a wire, every message is encoded once and decoded by each receiver, as on real
links, so that nodes share no objects; without one, nodes get the same frozen message, which is faster.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from tana.types.errors import InvalidInput
from tana.types.messages import PeerMessage, decode_message
from testbed.backends.base import MAX_RATE
from testbed.simulation.scheduler import Scheduler

CONNECT_MS = 5
"""Until two nodes notice that their link is up, or gone."""

_encoder = msgspec.msgpack.Encoder()
_RAW: Final[type] = msgspec.Raw


@dataclass
class Conditions:
    """How messages fare, by their rates (0 to 1) and delays. The defaults are those of a good local network."""

    delay_ms_min: int = 1
    delay_ms_max: int = 4
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay_ms: int = 30
    """How much later than it should a message comes that is overtaken by others."""
    bytes_per_second: int = 0
    """What each direction of a link carries at most, where messages are encoded; 0 is as much as comes."""


class Endpoint(Protocol):
    """A node with a running machine."""

    @property
    def key(self) -> bytes: ...

    @property
    def chain_id(self) -> bytes: ...

    @property
    def is_alive(self) -> bool:
        """False once this incarnation is gone, and for good."""

    def on_connected(self, peer: bytes) -> None: ...

    def on_disconnected(self, peer: bytes) -> None: ...

    def on_message(self, peer: bytes, message: PeerMessage) -> None: ...


Pair = tuple[bytes, bytes]
"""From one key to another."""


class _Link:
    """One direction of a link that is up."""

    __slots__ = ("arrival_ms", "free_us", "pair", "source", "target")

    def __init__(self, source: Endpoint, target: Endpoint) -> None:
        self.source = source
        self.target = target
        self.pair = (source.key, target.key)
        self.arrival_ms = 0
        """When the last message in order arrives."""
        self.free_us = 0
        """When it has carried what it took at its rate, in µs."""


Inspector = Callable[[bytes, bytes, PeerMessage], int]
"""Looks at a message from one key to another and says how many ms longer it takes (see `Adversary`)."""


def admit_all(one: bytes, other: bytes) -> bool:
    """Whoever is of the same chain is a peer."""
    return True


class Network:
    """All links, in one place. `sent`, `lost`, … count messages since the start, for "did this touch anything"."""

    def __init__(
        self,
        scheduler: Scheduler,
        seed: str,
        *,
        conditions: Conditions | None = None,
        has_wire: bool = True,
        is_admitted: Callable[[bytes, bytes], bool] = admit_all,
    ) -> None:
        self.conditions = conditions or Conditions()
        self.inspector: Inspector | None = None
        self.sent = self.lost = self.cut = self.duplicated = self.reordered = self.delayed = 0
        self._scheduler = scheduler
        self._draw = random.Random(f"{seed}/network").random
        self._deliver: Callable[[_Link, bytes | PeerMessage], None] = self._arrive
        """Bound once: it is asked for with every message."""
        self._has_wire = has_wire
        self._is_admitted = is_admitted
        self._endpoints: dict[bytes, Endpoint] = {}
        self._links: dict[bytes, dict[bytes, _Link]] = {}
        """By key of the source, then of the target."""
        self._cuts: dict[Pair, int] = {}
        self._severed: dict[Pair, int] = {}
        conditions = self.conditions
        self._rates = {"loss": conditions.loss, "duplicate": conditions.duplicate, "reorder": conditions.reorder}
        self._slow: dict[bytes, int] = {}

    # ------------------------------------------------------------------ who is there

    def join(self, endpoint: Endpoint) -> None:
        """A node listens and dials from now on."""
        others = [other for other in self._endpoints.values() if self._may_link(endpoint, other)]
        self._endpoints[endpoint.key] = endpoint
        self._links[endpoint.key] = {}
        for other in others:
            self._scheduler.call_after(CONNECT_MS, self._connect, endpoint, other)

    def leave(self, endpoint: Endpoint) -> None:
        """A node is gone: what is on its way to or from it is lost, and its peers notice. It may never have joined."""
        if not self._is_up(endpoint):
            return
        del self._endpoints[endpoint.key]
        for link in self._links.pop(endpoint.key).values():
            del self._links[link.target.key][endpoint.key]
            self._scheduler.call_after(CONNECT_MS, self._disconnect, link.target, endpoint.key)

    def review(self) -> None:
        """Look again at who admits whom: links appear and go."""
        present = list(self._endpoints.values())
        for index, one in enumerate(present):
            for other in present[index + 1 :]:
                if other.key in self._links[one.key]:
                    if not self._may_link(one, other):
                        self._unlink(one, other)
                elif self._may_link(one, other):
                    self._scheduler.call_after(CONNECT_MS, self._connect, one, other)

    # ------------------------------------------------------------------ what travels

    def broadcast(self, source: Endpoint, message: PeerMessage) -> None:
        links = self._links.get(source.key)
        if links:
            data = self._write(message)
            for link in links.values():
                self._carry(link, message, data)

    def send(self, source: Endpoint, peer: bytes, message: PeerMessage) -> None:
        link = self._links.get(source.key, {}).get(peer)
        if link is not None:
            self._carry(link, message, self._write(message))

    # ------------------------------------------------------------------ faults

    def cut_links(self, pairs: Iterable[Pair], *, is_noticed: bool = False) -> None:
        """Take directed links (from, to) away. Cuts add up: a link is back once every cut of it is healed.

        Where it is noticed, both nodes learn that they are not connected any more; otherwise they wait in vain.
        """
        for pair in pairs:
            self._cuts[pair] = self._cuts.get(pair, 0) + 1
            if is_noticed:
                self._severed[pair] = self._severed.get(pair, 0) + 1
        if is_noticed:
            self.review()

    def heal_links(self, pairs: Iterable[Pair], *, is_noticed: bool = False) -> None:
        """Take back one cut of each pair, made in the same way."""
        for pair in pairs:
            _take_one(self._cuts, pair)
            if is_noticed:
                _take_one(self._severed, pair)
        if is_noticed:
            self.review()

    def reset_links(self, pairs: Iterable[Pair]) -> int:
        """End links that are up, which both nodes notice; they are dialled again. How many there were."""
        count = 0
        for one, other in pairs:
            link = self._links.get(one, {}).get(other)
            if link is not None:
                count += 1
                self._dial_again(link)
        return count

    def is_cut(self, source: bytes, target: bytes) -> bool:
        return (source, target) in self._cuts

    def change_rate(self, kind: str, by: float) -> None:
        """Raise (or lower) the rate of `loss`, `duplicate` or `reorder`. What adds up to more than the bound waits."""
        self._rates[kind] = round(self._rates[kind] + by, 6)
        setattr(self.conditions, kind, min(self._rates[kind], MAX_RATE))

    def slow_down(self, key: bytes, by_ms: int) -> None:
        """Let whatever a node sends or gets take longer; a negative number takes that back."""
        slower = self._slow.get(key, 0) + by_ms
        if slower:
            self._slow[key] = slower
        else:
            del self._slow[key]

    # ------------------------------------------------------------------ inside

    def _carry(self, link: _Link, message: PeerMessage, data: bytes | PeerMessage) -> None:
        self.sent += 1
        conditions, chance, scheduler = self.conditions, self._draw, self._scheduler
        if self._cuts and link.pair in self._cuts:
            self.cut += 1
            return
        if conditions.loss and chance() < conditions.loss:
            self.lost += 1
            return
        spread_ms = conditions.delay_ms_max - conditions.delay_ms_min + 1
        arrival_ms = scheduler.now_ms + conditions.delay_ms_min + int(chance() * spread_ms)
        if conditions.bytes_per_second and isinstance(data, bytes):
            now_us = 1000 * scheduler.now_ms
            link.free_us = max(link.free_us, now_us) + 1_000_000 * len(data) // conditions.bytes_per_second
            arrival_ms += (link.free_us - now_us) // 1000
        if self._slow:
            source, target = link.pair
            arrival_ms += self._slow.get(source, 0) + self._slow.get(target, 0)
        if self.inspector is not None:
            delay_ms = self.inspector(*link.pair, message)
            if delay_ms:
                self.delayed += 1
                scheduler.call_at(arrival_ms + delay_ms, self._deliver, link, data)
                return
        if conditions.duplicate and chance() < conditions.duplicate:
            self.duplicated += 1
            again_ms = arrival_ms + int(chance() * conditions.reorder_delay_ms)
            scheduler.call_at(again_ms, self._deliver, link, data)
        if conditions.reorder and chance() < conditions.reorder:
            # It keeps nobody waiting who comes after it.
            self.reordered += 1
            arrival_ms += int(chance() * conditions.reorder_delay_ms)
        elif arrival_ms < link.arrival_ms:
            arrival_ms = link.arrival_ms
        else:
            link.arrival_ms = arrival_ms
        scheduler.call_at(arrival_ms, self._deliver, link, data)

    def _arrive(self, link: _Link, data: bytes | PeerMessage) -> None:
        source, target = link.source, link.target
        # A restarted node is another endpoint: these very incarnations must still be there.
        if not (source.is_alive and target.is_alive):
            return
        if not isinstance(data, bytes):
            target.on_message(link.pair[0], data)
            return
        try:
            message = decode_message(data)
        except InvalidInput:
            # A real link is closed by whoever gets such a frame, and dialled again.
            if target.key in self._links[source.key]:
                self._dial_again(link)
            return
        target.on_message(link.pair[0], message)

    def _write(self, message: PeerMessage) -> bytes | PeerMessage:
        # Bytes that are no message can be refused only by whoever decodes them.
        if self._has_wire or type(message) is _RAW:
            return _encoder.encode(message)
        return message

    def _may_link(self, one: Endpoint, other: Endpoint) -> bool:
        if other.chain_id != one.chain_id or not self._is_admitted(one.key, other.key):
            return False
        return (one.key, other.key) not in self._severed and (other.key, one.key) not in self._severed

    def _is_up(self, endpoint: Endpoint) -> bool:
        return self._endpoints.get(endpoint.key) is endpoint

    def _connect(self, one: Endpoint, other: Endpoint) -> None:
        if not (self._is_up(one) and self._is_up(other) and self._may_link(one, other)):
            return
        if other.key in self._links[one.key]:
            return
        self._links[one.key][other.key] = _Link(one, other)
        self._links[other.key][one.key] = _Link(other, one)
        one.on_connected(other.key)
        other.on_connected(one.key)

    def _unlink(self, one: Endpoint, other: Endpoint) -> None:
        del self._links[one.key][other.key]
        del self._links[other.key][one.key]
        self._scheduler.call_after(CONNECT_MS, self._disconnect, one, other.key)
        self._scheduler.call_after(CONNECT_MS, self._disconnect, other, one.key)

    def _dial_again(self, link: _Link) -> None:
        """End a link that is up and make it anew."""
        self._unlink(link.source, link.target)
        self._scheduler.call_after(2 * CONNECT_MS, self._connect, link.source, link.target)

    def _disconnect(self, endpoint: Endpoint, peer: bytes) -> None:
        if self._is_up(endpoint) and peer not in self._links[endpoint.key]:
            endpoint.on_disconnected(peer)


def _take_one(counts: dict[Pair, int], pair: Pair) -> None:
    counts[pair] -= 1
    if not counts[pair]:
        del counts[pair]
