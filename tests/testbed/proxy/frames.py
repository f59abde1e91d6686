"""What peers send, as bytes: the head of an upgrade and WebSocket frames."""

from __future__ import annotations

HEAD = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"


def make_frame(payload: bytes, *, opcode: int = 0x82, masked: bool = False) -> bytes:
    """A frame of RFC 6455; its mask, where it has one, is of zeros."""
    size, mask = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes([opcode, mask | size])
    elif size < 65536:
        head = bytes([opcode, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([opcode, mask | 127]) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload
