"""Keys and signatures: the vectors byte for byte, every printed form, and malformed ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.crypto.keys import (
    KeyPair,
    format_public_key,
    format_signature,
    parse_public_key,
    parse_signature,
    verify,
    verify_text,
)
from tana.types.errors import InvalidInput

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire.json").read_text("utf-8"))
PAIR = KeyPair.from_seed(b"k" * 32)
MESSAGE = b"message"
SIGNATURE = PAIR.sign(MESSAGE)
# The order of Ed25519's base point (RFC 8032, 5.1).
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize("row", VECTORS["keys"])
def test_key_vectors(row: dict[str, Any]) -> None:
    pair = KeyPair.from_text(row["privateKey"])
    assert pair.public_text == row["publicKey"]
    assert pair.private_text == row["privateKey"]


@pytest.mark.parametrize("row", VECTORS["signatures"])
def test_signature_vectors(row: dict[str, Any]) -> None:
    message = row["message"]
    assert hashlib.sha256(message.encode()).hexdigest() == row["sha256"]
    pair = KeyPair.from_text(row["privateKey"])
    assert pair.public_text == row["publicKey"]
    assert pair.sign_text(message) == row["signature"]
    assert verify_text(row["publicKey"], message, row["signature"])
    assert not verify_text(row["publicKey"], message + "!", row["signature"])


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_signatures_verify_under_their_own_key_only(seed: bytes, message: bytes) -> None:
    pair = KeyPair.from_seed(seed)
    signature = pair.sign(message)
    assert verify(pair.public_key, message, signature)
    assert not verify(pair.public_key, message + b"\0", signature)
    assert not verify(KeyPair.from_seed(hashlib.sha256(seed).digest()).public_key, message, signature)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_printed_forms_round_trip(key: bytes, signature: bytes) -> None:
    assert parse_public_key(format_public_key(key)) == key
    assert parse_public_key(key.hex()) == key
    assert parse_signature(format_signature(signature)) == signature
    assert parse_signature("ed25519_" + signature.hex()) == signature
    assert parse_signature(signature.hex().upper()) == signature
    assert KeyPair.from_text(format_public_key(key)).seed == key


@given(st.integers(0, 511))
def test_invalid_signature_with_any_bit_flipped(bit: int) -> None:
    forged = bytearray(SIGNATURE)
    forged[bit // 8] ^= 1 << bit % 8
    assert not verify(PAIR.public_key, MESSAGE, bytes(forged))


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=100))
def test_verify_never_raises(key: bytes, message: bytes, signature: bytes) -> None:
    assert not verify(key, message, signature)


def test_invalid_signature_made_malleable() -> None:
    """S + L passes a careless check and would give one transaction two leaves by a stranger's hand."""
    scalar = int.from_bytes(SIGNATURE[32:], "little") + GROUP_ORDER
    assert not verify(PAIR.public_key, MESSAGE, SIGNATURE[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        b"\x01" + bytes(31),
        b"\xec" + b"\xff" * 30 + b"\x7f",
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        b"\xff" * 32,
    ],
)
def test_invalid_key_of_small_order_or_off_the_curve(key: bytes) -> None:
    """Under such a key an all-zero signature, or one of its kind, would stand for any message."""
    for signature in (bytes(64), b"\x01" + bytes(63), key + bytes(32)):
        assert not verify(key, MESSAGE, signature)


def test_generated_keys_differ() -> None:
    assert KeyPair.generate() != KeyPair.generate()


def test_a_secret_is_never_shown() -> None:
    assert PAIR.seed.hex() not in repr(PAIR)
    assert repr(PAIR.seed) not in repr(PAIR)
    with pytest.raises(InvalidInput) as caught:
        KeyPair.from_text(PAIR.private_text + "0")
    assert PAIR.seed.hex() not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519_",
        "ed25519_" + "a" * 63,
        "ed25519_" + "a" * 65,
        "ed25519_" + "g" * 64,
        "ed25519_" + "a" * 62 + "\n\n",
        " ed25519_" + "a" * 64,
        "ed25519_ed25519_" + "a" * 64,
        "ED25519_" + "a" * 64,
        "0x" + "a" * 62,
        "ed25519_" + "a a " * 16,
        "ed25519_" + "٣" * 64,
        "ed25519_" + "\ud800" * 64,
        "ed25519_sig_" + "a" * 64,
        "a" * 1_000_000,
        None,
        7,
        b"a" * 64,
        ["a"],
    ],
)
def test_invalid_key(text: Any) -> None:
    for parse in (parse_public_key, KeyPair.from_text):
        with pytest.raises(InvalidInput) as caught:
            parse(text, "approverPublicKey")
        assert (caught.value.code, caught.value.field) == ("malformed_key", "approverPublicKey")
        assert "approverPublicKey" in caught.value.message
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519_sig_",
        "ed25519_sig_" + "a" * 127,
        "ed25519_sig_" + "a" * 129,
        "ed25519_sig_" + "z" * 128,
        "ed25519_sig_ed25519_" + "a" * 128,
        "ed25519_" + "a" * 64,
        "rsa_sig_" + "a" * 128,
        "a" * 126 + "\r\n",
        None,
        {},
        b"a" * 128,
    ],
)
def test_invalid_signature(text: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_signature(text)
    assert (caught.value.code, caught.value.field) == ("malformed_signature", "signature")
    with pytest.raises(InvalidInput):
        verify_text(PAIR.public_text, "message", text)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_invalid_seed(length: int) -> None:
    with pytest.raises(InvalidInput, match="32 bytes"):
        KeyPair.from_seed(bytes(length))


def test_lone_surrogates_are_signed_as_javascript_encodes_them() -> None:
    assert PAIR.sign_text("a\ud800b") == PAIR.sign_text("a\ufffdb")
    assert verify_text(PAIR.public_text, "a\ud800b", PAIR.sign_text("a\ufffdb"))
