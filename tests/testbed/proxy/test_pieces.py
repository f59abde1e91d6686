"""A stream is cut into frames; every byte comes out once and in order; what is no such stream passes as it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.proxy.pieces import MAX_HEAD_BYTES, MAX_PIECE_BYTES, Piece, Splitter
from tests.testbed.proxy.frames import HEAD, make_frame


def feed_all(splitter: Splitter, chunks: list[bytes]) -> list[Piece]:
    return [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.finish()


def test_the_head_and_every_frame_is_a_piece() -> None:
    frames = [make_frame(b"one"), make_frame(b"x" * 200), make_frame(b"y" * 70_000), make_frame(b"", masked=True)]
    ping = make_frame(b"ping", opcode=0x89)
    pieces = Splitter().feed(b"".join([HEAD, *frames, ping]))
    assert [piece.data for piece in pieces] == [HEAD, *frames, ping]
    assert [piece.is_message for piece in pieces] == [False, True, True, True, True, False]


def test_a_frame_that_is_not_whole_waits() -> None:
    splitter, frame = Splitter(), make_frame(b"x" * 200, masked=True)
    assert splitter.feed(HEAD[:-1]) == []
    assert [piece.data for piece in splitter.feed(HEAD[-1:] + frame[:3])] == [HEAD]
    assert splitter.feed(frame[3:-1]) == []
    assert splitter.feed(frame[-1:]) == [Piece(frame, is_message=True)]


def test_an_answer_that_refuses_the_upgrade_passes_whole() -> None:
    answer = b"HTTP/1.1 503 Service Unavailable\r\n\r\nFailed to open a connection"
    assert b"".join(piece.data for piece in Splitter().feed(answer)) == answer


def test_a_stream_of_another_kind_passes_as_it_comes() -> None:
    splitter = Splitter(is_peer_link=False)
    assert splitter.feed(HEAD) == [Piece(HEAD, is_message=False)]
    assert splitter.feed(b"\x82") == [Piece(b"\x82", is_message=False)]


@pytest.mark.parametrize(
    "data",
    [
        b"GET " + b"x" * MAX_HEAD_BYTES,
        b"SSH-2.0-other\r\n",
        HEAD + b"\x82\x7f" + (MAX_PIECE_BYTES + 1).to_bytes(8, "big") + b"and so on",
        HEAD + b"\x82\xff" + b"\xff" * 8 + b"and so on",
    ],
    ids=["endless_head", "another_protocol", "oversized_frame", "impossible_size"],
)
def test_invalid_stream_passes_at_once(data: bytes) -> None:
    splitter = Splitter()
    assert b"".join(piece.data for piece in splitter.feed(data)) == data
    assert splitter.feed(make_frame(b"later")) == [Piece(make_frame(b"later"), is_message=False)]


@given(st.lists(st.binary(max_size=300)), st.booleans())
def test_every_byte_comes_out_once_and_in_order(chunks: list[bytes], has_head: bool) -> None:
    if has_head:
        chunks = [HEAD, *chunks]
    assert b"".join(piece.data for piece in feed_all(Splitter(), chunks)) == b"".join(chunks)
