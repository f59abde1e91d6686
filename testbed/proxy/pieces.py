"""Cuts the stream of a peer link into pieces: the head of the HTTP upgrade, then whole WebSocket frames.

RFC 6455, section 5.2. A peer message is one binary frame, so that one may be lost, doubled or overtaken by others
without breaking the stream. What is no such stream, or a frame over `MAX_PIECE_BYTES`, passes as it comes, and so does
everything after it: it is for the receiver to refuse, not for what lies between.
"""

from __future__ import annotations

from typing import NamedTuple

from tana.node.links import MAX_FRAME_BYTES

MAX_HEAD_BYTES = 16 * 1024
MAX_PIECE_BYTES = 2 * MAX_FRAME_BYTES
"""More than any validator sends; what lies between holds no more than this of a frame that is not whole."""
_HEADS = (b"GET ", b"HTTP/1.1 101 ")
_END_OF_HEAD = b"\r\n\r\n"
_WHOLE_BINARY_FRAME = 0x82


class Piece(NamedTuple):
    """Bytes that travel as one. Messages are what peers say to each other; the rest keeps the connection."""

    data: bytes
    is_message: bool


class Splitter:
    """One direction of one connection. Every byte that is fed comes out once, in order."""

    def __init__(self, *, is_peer_link: bool = True) -> None:
        self._buffer = bytearray()
        self._take = self._take_head if is_peer_link else self._take_all

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that are whole by now."""
        self._buffer += data
        pieces = []
        while self._buffer and (piece := self._take()) is not None:
            pieces.append(piece)
        return pieces

    def finish(self) -> list[Piece]:
        """What is left when the stream has ended in the middle of a piece."""
        self._take = self._take_all
        return self.feed(b"")

    def _take_head(self) -> Piece | None:
        buffer = self._buffer
        if not any(buffer.startswith(head[: len(buffer)]) for head in _HEADS):
            return self._give_up()
        end = buffer.find(_END_OF_HEAD)
        if end < 0:
            return None if len(buffer) < MAX_HEAD_BYTES else self._give_up()
        self._take = self._take_frame
        return self._cut(end + len(_END_OF_HEAD))

    def _take_frame(self) -> Piece | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size = buffer[1] & 0x7F
        start = {126: 4, 127: 10}.get(size, 2)
        if len(buffer) < start:
            return None
        if start > 2:
            size = int.from_bytes(buffer[2:start], "big")
        end = start + 4 * (buffer[1] >> 7) + size
        if end > MAX_PIECE_BYTES:
            return self._give_up()
        return self._cut(end, is_message=buffer[0] == _WHOLE_BINARY_FRAME) if len(buffer) >= end else None

    def _take_all(self) -> Piece | None:
        return self._cut(len(self._buffer))

    def _give_up(self) -> Piece:
        self._take = self._take_all
        return self._cut(len(self._buffer))

    def _cut(self, end: int, *, is_message: bool = False) -> Piece:
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        return Piece(data, is_message)
