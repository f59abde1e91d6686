"""Blocks: one encoding, strict decoding, and hashes over all that was agreed."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.types.block import (
    MAX_BLOCK_BYTES,
    NO_EVIDENCE_ROOT,
    Block,
    Certificate,
    CommitSignature,
    Header,
    RawTransaction,
)
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.vote import Vote

hashes = st.binary(min_size=32, max_size=32)
counts = st.integers(0, 2**62)
headers = st.builds(
    Header,
    version=st.just(1),
    chain_id=hashes,
    height=st.integers(1, 2**62),
    parent=hashes,
    time_ms=counts,
    producer=hashes,
    transaction_count=counts,
    transactions_root=hashes,
    state_root=hashes,
    validators_hash=hashes,
    next_validators_hash=hashes,
    evidence_root=hashes,
)
transactions = st.builds(RawTransaction, text=st.binary(max_size=300), signature=st.binary(min_size=64, max_size=64))
votes = st.builds(
    Vote,
    kind=st.integers(1, 2),
    height=st.integers(1, 2**62),
    round=st.integers(0, 2**31),
    block_hash=st.none() | hashes,
    validator=hashes,
    signature=st.binary(min_size=64, max_size=64),
)
evidences = st.builds(Evidence, first=votes, second=votes)
blocks = st.builds(Block.create, headers, st.lists(transactions, max_size=20), st.lists(evidences, max_size=16))

HEADER = Header(
    version=1,
    chain_id=b"c" * 32,
    height=7,
    parent=b"p" * 32,
    time_ms=1000,
    producer=b"v" * 32,
    transaction_count=1,
    transactions_root=b"t" * 32,
    state_root=b"s" * 32,
    validators_hash=b"h" * 32,
    next_validators_hash=b"n" * 32,
    evidence_root=NO_EVIDENCE_ROOT,
)
BLOCK = Block.create(HEADER, [RawTransaction(b"text", b"s" * 64)])
EVIDENCE = Evidence(*(Vote(1, 7, 0, value, b"v" * 32, b"s" * 64) for value in (None, b"b" * 32)))


@given(blocks)
def test_round_trip(block: Block) -> None:
    again = Block.decode(block.data)
    assert again == block
    assert again.hash == block.hash
    assert again.height == block.header.height


@given(blocks, st.data())
def test_invalid_bytes_after_any_cut(block: Block, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(block.data) - 1))
    with pytest.raises(InvalidInput):
        Block.decode(block.data[:length])


@given(blocks, st.binary(min_size=1, max_size=40))
def test_invalid_bytes_with_anything_behind(block: Block, tail: bytes) -> None:
    with pytest.raises(InvalidInput):
        Block.decode(block.data + tail)


@given(st.binary(max_size=400))
def test_invalid_noise(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        Block.decode(data)


@given(st.data())
def test_a_flipped_bit_never_gives_the_same_block(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(BLOCK.data) * 8 - 1))
    flipped = bytearray(BLOCK.data)
    flipped[position // 8] ^= 1 << position % 8
    try:
        other = Block.decode(bytes(flipped))
    except InvalidInput:
        return
    assert other.data == bytes(flipped)
    assert other.hash != BLOCK.hash or other.transactions != BLOCK.transactions


def test_hash_covers_every_field_of_the_header() -> None:
    for field in msgspec.structs.fields(Header):
        value = getattr(HEADER, field.name)
        other = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
        assert msgspec.structs.replace(HEADER, **{field.name: other}).compute_hash() != HEADER.compute_hash(), (
            field.name
        )


def test_header_encoding_is_frozen() -> None:
    """Another encoding would be another hash, and so another chain: change `version` first."""
    fields = b"\x9c\x01" + b"".join(
        (
            b"\xc4\x20" + b"c" * 32,
            b"\x07",
            b"\xc4\x20" + b"p" * 32,
            b"\xcd\x03\xe8",
            b"\xc4\x20" + b"v" * 32,
            b"\x01",
            b"\xc4\x20" + b"t" * 32,
            b"\xc4\x20" + b"s" * 32,
            b"\xc4\x20" + b"h" * 32,
            b"\xc4\x20" + b"n" * 32,
            b"\xc4\x20" + NO_EVIDENCE_ROOT,
        )
    )
    assert HEADER.compute_hash() == hashlib.sha256(b"tana/header/1" + fields).digest()
    assert BLOCK.data == b"\x93" + fields + b"\x91\x92\xc4\x04text\xc4\x40" + b"s" * 64 + b"\x90"


def test_leaf_of_a_raw_transaction() -> None:
    assert BLOCK.transactions[0].leaf == hashlib.sha256(b"text" + b"s" * 64).digest()


ENCODED_HEADER = msgspec.msgpack.encode(HEADER)
EMPTY = b"\x90\x90"
HOSTILE = {
    "empty": b"",
    "null": b"\xc0",
    "map": b"\x80",
    "no_transactions": b"\x91" + ENCODED_HEADER,
    "no_evidence": b"\x92" + ENCODED_HEADER + b"\x90",
    "fourth_member": b"\x94" + ENCODED_HEADER + b"\x90\x90\xc0",
    "header_field_missing": b"\x93\x9b" + ENCODED_HEADER[1:-34] + EMPTY,
    "header_field_extra": b"\x93\x9d" + ENCODED_HEADER[1:] + b"\x00" + EMPTY,
    "version_2": b"\x93" + ENCODED_HEADER.replace(b"\x9c\x01", b"\x9c\x02", 1) + EMPTY,
    "height_0": b"\x93" + ENCODED_HEADER.replace(b"\x07\xc4\x20p", b"\x00\xc4\x20p") + EMPTY,
    "height_as_float": b"\x92"
    + ENCODED_HEADER.replace(b"\x07\xc4\x20p", b"\xcb\x40\x1c" + bytes(6) + b"\xc4\x20p")
    + EMPTY,
    "height_in_a_longer_form": b"\x93" + ENCODED_HEADER.replace(b"\x07\xc4\x20p", b"\xcc\x07\xc4\x20p") + EMPTY,
    "time_below_0": b"\x93" + ENCODED_HEADER.replace(b"\xcd\x03\xe8", b"\xff") + EMPTY,
    "hash_of_31_bytes": b"\x93" + ENCODED_HEADER.replace(b"\xc4\x20" + b"p" * 32, b"\xc4\x1f" + b"p" * 31) + EMPTY,
    "hash_of_33_bytes": b"\x93" + ENCODED_HEADER.replace(b"\xc4\x20" + b"p" * 32, b"\xc4\x21" + b"p" * 33) + EMPTY,
    "hash_as_text": b"\x93" + ENCODED_HEADER.replace(b"\xc4\x20" + b"p" * 32, b"\xd9\x20" + b"p" * 32) + EMPTY,
    "signature_of_63_bytes": b"\x93" + ENCODED_HEADER + b"\x91\x92\xc4\x01x\xc4\x3f" + b"s" * 63 + b"\x90",
    "text_as_string": b"\x93" + ENCODED_HEADER + b"\x91\x92\xa1x\xc4\x40" + b"s" * 64 + b"\x90",
    "bin16_where_bin8_is_enough": b"\x93" + ENCODED_HEADER + b"\x91\x92\xc5\x00\x01x\xc4\x40" + b"s" * 64 + b"\x90",
    "array16_where_fixarray_is_enough": b"\xdc\x00\x03" + ENCODED_HEADER + EMPTY,
    "seventeen_evidences": b"\x93" + ENCODED_HEADER + b"\x90\xdc\x00\x11" + msgspec.msgpack.encode(EVIDENCE) * 17,
    "array_longer_than_the_bytes": b"\x93" + ENCODED_HEADER + b"\xdd\xff\xff\xff\xff",
    "deep_nesting": b"\x91" * 100_000,
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_invalid_encoding(reason: str) -> None:
    with pytest.raises(InvalidInput):
        Block.decode(HOSTILE[reason])


def test_invalid_size() -> None:
    with pytest.raises(InvalidInput, match="bound"):
        Block.decode(bytes(MAX_BLOCK_BYTES + 1))


def test_certificate_round_trip_and_bounds() -> None:
    signature = CommitSignature(b"v" * 32, b"s" * 64)
    certificate = Certificate(7, 0, b"b" * 32, (signature,))
    data = msgspec.msgpack.encode(certificate)
    assert msgspec.msgpack.decode(data, type=Certificate) == certificate
    for hostile in (
        Certificate(0, 0, b"b" * 32, ()),
        Certificate(7, -1, b"b" * 32, ()),
        Certificate(7, 0, b"b" * 31, ()),
        Certificate(7, 0, b"b" * 32, (signature,) * 257),
        Certificate(7, 0, b"b" * 32, (CommitSignature(b"v" * 31, b"s" * 64),)),
        Certificate(7, 0, b"b" * 32, (CommitSignature(b"v" * 32, b"s" * 65),)),
    ):
        with pytest.raises(msgspec.DecodeError):
            msgspec.msgpack.decode(msgspec.msgpack.encode(hostile), type=Certificate)
