"""Peer messages: strict decoding, and signed bytes that mean one thing only."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.types.block import Certificate, CommitSignature, RawTransaction
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.messages import (
    PRECOMMIT,
    PREVOTE,
    Announcement,
    BlockPart,
    Blocks,
    BlocksRequest,
    EvidenceMessage,
    FinalBlock,
    PastVotes,
    Proposal,
    RoundVotes,
    Transactions,
    Vote,
    VoteQuorum,
    decode_message,
    proposal_sign_bytes,
    vote_sign_bytes,
)

CHAIN, HASH, KEY, SIGNATURE = b"c" * 32, b"h" * 32, b"v" * 32, b"s" * 64
VOTE = Vote(PREVOTE, 7, 0, HASH, KEY, SIGNATURE)
PROPOSAL = Proposal(7, 0, HASH, -1, KEY, SIGNATURE)
ROUND_VOTES = RoundVotes(0, b"pppp", b"\0" * 16, b"", True, False)
NO_VOTES = RoundVotes(0, b"", b"", b"", False, False)
MESSAGES = [
    VOTE,
    Vote(PRECOMMIT, 1, 5, None, KEY, SIGNATURE),
    PROPOSAL,
    BlockPart(7, b"bytes"),
    Announcement(
        7, -1, 0, (RoundVotes(0, b"pppp", b"\0" * 16, b"", True, False),), (HASH,), (PastVotes(6, ()),), (KEY,)
    ),
    EvidenceMessage(Evidence(VOTE, PROPOSAL)),
    VoteQuorum(PREVOTE, 7, 0, None, (CommitSignature(KEY, SIGNATURE),)),
    Transactions((RawTransaction(b"text", SIGNATURE),)),
    BlocksRequest(1, 9),
    Blocks((FinalBlock(b"data", Certificate(7, 0, HASH, ())),)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_round_trip(message: Any) -> None:
    assert decode_message(msgspec.msgpack.encode(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_invalid_lengths_of_every_message(message: Any) -> None:
    """One field fewer, one more, every cut, and a tail: none decodes."""
    data = msgspec.msgpack.encode(message)
    fields = msgspec.msgpack.decode(data)
    hostile = [data[:length] for length in range(len(data))]
    hostile += [msgspec.msgpack.encode(fields[:-1]), msgspec.msgpack.encode([*fields, 0]), data + b"\xc0"]
    for item in hostile:
        with pytest.raises(InvalidInput):
            decode_message(item)


@pytest.mark.parametrize(
    "message",
    [
        Vote(0, 7, 0, HASH, KEY, SIGNATURE),
        Vote(3, 7, 0, HASH, KEY, SIGNATURE),
        Vote(PREVOTE, 0, 0, HASH, KEY, SIGNATURE),
        Vote(PREVOTE, 2**62 + 1, 0, HASH, KEY, SIGNATURE),
        Vote(PREVOTE, 7, -1, HASH, KEY, SIGNATURE),
        Vote(PREVOTE, 7, 2**31 + 1, HASH, KEY, SIGNATURE),
        Vote(PREVOTE, 7, 0, HASH[1:], KEY, SIGNATURE),
        Vote(PREVOTE, 7, 0, b"", KEY, SIGNATURE),
        Vote(PREVOTE, 7, 0, HASH, KEY + b"v", SIGNATURE),
        Vote(PREVOTE, 7, 0, HASH, KEY, SIGNATURE[1:]),
        Vote(PREVOTE, 7, 0, HASH, KEY, SIGNATURE + b"s"),
        Proposal(0, 0, HASH, -1, KEY, SIGNATURE),
        Proposal(7, 0, HASH[1:], -1, KEY, SIGNATURE),
        Proposal(7, 0, None, -1, KEY, SIGNATURE),  # type: ignore[arg-type]
        Proposal(7, 0, HASH, -2, KEY, SIGNATURE),
        Proposal(7, 0, HASH, -1, KEY[1:], SIGNATURE),
        Proposal(7, 0, HASH, -1, KEY, b""),
        BlockPart(7, "text"),  # type: ignore[arg-type]
        Announcement(7, -2, 0, (), (), (), ()),
        Announcement(7, 0, 4, (), (), (), ()),
        Announcement(7, 0, 0, (RoundVotes(0, b"", b"\xff" * 1025, b"", False, False),), (), (), ()),
        Announcement(7, 0, 0, (RoundVotes(0, b"fives", b"", b"", False, False),), (), (), ()),
        Announcement(7, 0, 0, (NO_VOTES,) * 65, (), (), ()),
        Announcement(7, 0, 0, (), (HASH,) * 65, (), ()),
        Announcement(7, 0, 0, (), (), (PastVotes(6, ()),) * 17, ()),
        Announcement(7, 0, 0, (), (), (PastVotes(6, (NO_VOTES,) * 5),), ()),
        Announcement(7, 0, 0, (), (), (), (KEY,) * 65),
        VoteQuorum(3, 7, 0, None, ()),
        VoteQuorum(PREVOTE, 7, 0, None, (CommitSignature(KEY, SIGNATURE),) * 257),
        EvidenceMessage(Evidence(VOTE, BlockPart(7, b""))),  # type: ignore[arg-type]
        Transactions((RawTransaction(b"text", SIGNATURE[1:]),)),
        Transactions((RawTransaction(b"", SIGNATURE),) * 1001),
        BlocksRequest(0, 9),
        Blocks((FinalBlock(b"", Certificate(7, 0, HASH, ())),) * 257),
    ],
)
def test_invalid_message(message: Any) -> None:
    with pytest.raises(InvalidInput):
        decode_message(msgspec.msgpack.encode(message))


@given(st.binary(max_size=300))
def test_invalid_noise(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_message(data)


def test_invalid_utf8_in_the_tag() -> None:
    with pytest.raises(InvalidInput):
        decode_message(b"\x91\xa1\x80")


def test_invalid_tag() -> None:
    with pytest.raises(InvalidInput):
        decode_message(msgspec.msgpack.encode(["veto", 1, 7, 0, HASH, KEY, SIGNATURE]))


@pytest.mark.parametrize("data", [b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xd4\x01\x00"])
def test_invalid_claims_of_size(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_message(data)


def test_signed_bytes_are_frozen() -> None:
    assert VOTE.sign_bytes(CHAIN) == (
        b"tana/vote/1\0" + CHAIN + b"\x01" + bytes(7) + b"\x07" + bytes(4) + b"\x01" + HASH
    )
    assert PROPOSAL.sign_bytes(CHAIN) == (
        b"tana/proposal/1\0" + CHAIN + bytes(7) + b"\x07" + bytes(4) + HASH + b"\xff" * 8
    )


def test_every_difference_is_signed() -> None:
    votes = [
        vote_sign_bytes(chain, kind, height, round, block_hash)
        for chain, kind, height, round, block_hash in itertools.product(
            (CHAIN, b"d" * 32), (PREVOTE, PRECOMMIT), (1, 2), (0, 1), (None, bytes(32), HASH)
        )
    ]
    proposals = [
        proposal_sign_bytes(chain, height, round, block_hash, valid_round)
        for chain, height, round, block_hash, valid_round in itertools.product(
            (CHAIN, b"d" * 32), (1, 2), (0, 1), (bytes(32), HASH), (-1, 0)
        )
    ]
    assert len(set(votes + proposals)) == len(votes) + len(proposals)


@given(st.integers(1, 2**62), st.integers(0, 2**31), st.integers(-1, 2**31))
def test_every_allowed_number_can_be_signed(height: int, round: int, valid_round: int) -> None:
    signed = vote_sign_bytes(CHAIN, PREVOTE, height, round, None)
    assert struct.unpack_from(">QI", signed, 45) == (height, round)
    assert struct.unpack_from(">QI", proposal_sign_bytes(CHAIN, height, round, HASH, valid_round), 48) == (
        height,
        round,
    )
