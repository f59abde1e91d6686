"""The stand-in for Ed25519: a signature is good for its key and its bytes alone, however often one asks."""

from __future__ import annotations

import pytest

from testbed.simulation.signing import StandInKey, verify_stand_in

KEY, OTHER = StandInKey(b"k" * 32), StandInKey(b"o" * 32)


def test_its_own_signature_is_accepted() -> None:
    for message in (b"", b"vote", b"v" * 1000):
        signature = KEY.sign(message)
        assert len(signature) == 64
        assert verify_stand_in(KEY.public_key, message, signature)


@pytest.mark.parametrize(
    ("key", "message", "signature"),
    [
        (OTHER.public_key, b"vote", KEY.sign(b"vote")),
        (KEY.public_key, b"vote", OTHER.sign(b"vote")),
        (KEY.public_key, b"veto", KEY.sign(b"vote")),
        (KEY.public_key, b"vote", bytes(64)),
        (KEY.public_key, b"vote", KEY.sign(b"vote")[:63]),
        (b"k" * 31, b"kvote", KEY.sign(b"vote")),
    ],
    ids=["key", "signer", "bytes", "forgery", "length", "key_length"],
)
def test_invalid_signature(key: bytes, message: bytes, signature: bytes) -> None:
    for _ in range(2):
        assert verify_stand_in(KEY.public_key, b"vote", KEY.sign(b"vote"))
        assert not verify_stand_in(key, message, signature)
