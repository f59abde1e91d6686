"""A block's body must be the one that its header commits to."""

from __future__ import annotations

import pytest

from tana.crypto import merkle
from tana.crypto.body import verify_body
from tana.types.block import NO_EVIDENCE_ROOT, Block, Header, RawTransaction
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.vote import Vote

BODY = tuple(RawTransaction(bytes([number]), bytes(64)) for number in range(3))


def make_block(body: tuple[RawTransaction, ...], count: int) -> Block:
    """A block of `body` under the header of `BODY`, which claims `count` transactions."""
    header = Header(
        version=1,
        chain_id=bytes(32),
        height=1,
        parent=bytes(32),
        time_ms=1,
        producer=bytes(32),
        transaction_count=count,
        transactions_root=merkle.compute_root([raw.leaf for raw in BODY]),
        state_root=bytes(32),
        validators_hash=bytes(32),
        next_validators_hash=bytes(32),
        evidence_root=NO_EVIDENCE_ROOT,
    )
    return Block.create(header, body)


def test_the_body_of_its_header() -> None:
    verify_body(make_block(BODY, 3))


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (BODY, 2),
        (BODY, 4),
        ((), 3),
        ((), 0),
        (BODY[:2], 2),
        ((*BODY, BODY[2]), 4),
        (BODY[::-1], 3),
        ((*BODY[:2], RawTransaction(b"other", bytes(64))), 3),
        ((*BODY[:2], RawTransaction(BODY[2].text, b"\x01" * 64)), 3),
    ],
)
def test_invalid_body(body: tuple[RawTransaction, ...], count: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        verify_body(make_block(body, count))
    assert caught.value.code == "wrong_body"


@pytest.mark.parametrize("count", [1, 2])
def test_invalid_evidence_in_the_body(count: int) -> None:
    block = make_block(BODY, 3)
    votes = (Vote(1, 1, 0, value, bytes(32), bytes(64)) for value in (None, bytes(32)))
    evidence = Evidence.create(*votes)
    with pytest.raises(InvalidInput, match="evidence root"):
        verify_body(Block.create(block.header, BODY, [evidence] * count))
