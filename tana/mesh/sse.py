"""Server-sent events (WHATWG HTML, 9.2): one bounded queue per open stream, all of them ended at once on stopping."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from tana.mesh.events import Event
from tana.mesh.service import MeshService
from tana.types.errors import InvalidInput, RateLimited

MAX_STREAMS = 64
QUEUE_EVENTS = 1024
KEEP_ALIVE_MS = 15_000


class EventStreams:
    """The open `GET /events` streams of one service."""

    def __init__(self, service: MeshService) -> None:
        self._service = service
        self._queues: set[asyncio.Queue[Event | None]] = set()
        self._closed = False

    def open(self, last_event_id: str | None) -> AsyncIterator[bytes]:
        """The bytes of a stream, from behind `last_event_id` where given. Raises `InvalidInput`, `RateLimited`."""
        after = None if last_event_id is None else _parse_id(last_event_id)
        if len(self._queues) >= MAX_STREAMS:
            raise RateLimited(f"{MAX_STREAMS} event streams are open", remedy="close one, or come again later")
        return self._stream(after)

    def count_open(self) -> int:
        return len(self._queues)

    def close(self) -> None:
        """End every stream, so that a stopping server need not wait for its listeners."""
        self._closed = True
        for queue in self._queues:
            _end(queue)

    async def _stream(self, after: int | None) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE_EVENTS)

        def enqueue(event: Event) -> None:
            if queue.full():
                # Too slow to follow: cut it off, it may come back with its last id.
                unsubscribe()
                _end(queue)
            else:
                queue.put_nowait(event)

        unsubscribe = self._service.subscribe(enqueue)
        self._queues.add(queue)
        try:
            # The first bytes tell the client that from here on nothing is missed.
            yield b"retry: 1000\n: listening\n\n"
            for chunk in self._catch_up(after):
                yield chunk
            while not self._closed:
                try:
                    event = await asyncio.wait_for(queue.get(), KEEP_ALIVE_MS / 1000)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if event is None:
                    return
                yield format_event(event)
        finally:
            unsubscribe()
            self._queues.discard(queue)

    def _catch_up(self, after: int | None) -> list[bytes]:
        events = self._service.events
        if after is None:
            return []
        missed = events.list_after(after)
        if missed is None:
            # Some are gone: the client must read /nodes again.
            return [_format(events.last_id, "reset", {})]
        return [format_event(event) for event in missed]


def format_event(event: Event) -> bytes:
    return _format(event.id, event.type, event.to_json())


def _format(event_id: int, kind: str, data: dict[str, object]) -> bytes:
    return f"id: {event_id}\nevent: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode("ascii")


def _end(queue: asyncio.Queue[Event | None]) -> None:
    while queue.full():
        queue.get_nowait()
    queue.put_nowait(None)


def _parse_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise InvalidInput(
            "Last-Event-ID is no number", remedy="send the id of the last event you had", field="Last-Event-ID"
        )
    return int(text)
