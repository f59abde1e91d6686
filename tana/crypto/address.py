"""Addresses: a short printable form of a public key, with a checksum.

Bytes: version (0x41 main, 0x6f test) + first 8 bytes of SHA-256(public key) + first 4 bytes of the double
SHA-256 of those 9 bytes, in Base58 with Bitcoin's alphabet.
"""

from __future__ import annotations

import hashlib

from tana.types.errors import InvalidInput

MAIN_VERSION = 0x41
TEST_VERSION = 0x6F
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ADDRESS_BYTES = 13
_CHECKSUM_BYTES = 4


def compute_address(public_key: bytes, *, version: int = MAIN_VERSION) -> str:
    """The address of a 32-byte public key."""
    body = bytes([version]) + hashlib.sha256(public_key).digest()[:8]
    return _encode_base58(body + _checksum(body))


def verify_address(address: str) -> int:
    """The version byte of a well-formed address. Raises `InvalidInput` for a bad character, length or checksum."""
    data = _decode_base58(address)
    if len(data) != _ADDRESS_BYTES:
        raise InvalidInput("the address has the wrong length", code="malformed_address", field="address")
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if checksum != _checksum(body):
        raise InvalidInput(
            "the address has a wrong checksum",
            remedy="check it for a typing error",
            code="malformed_address",
            field="address",
        )
    return data[0]


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(body).digest()).digest()[:_CHECKSUM_BYTES]


def _encode_base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    leading_zeros = len(data) - len(data.lstrip(b"\0"))
    return _ALPHABET[0] * leading_zeros + "".join(reversed(digits))


def _decode_base58(text: str) -> bytes:
    number = 0
    # Longer than any address can be: refuse before doing arithmetic on it.
    if len(text) > 2 * _ADDRESS_BYTES:
        raise InvalidInput("the address is too long", code="malformed_address", field="address")
    for character in text:
        digit = _ALPHABET.find(character)
        if digit < 0:
            raise InvalidInput(
                f"the address has the character {character!r}, which Base58 lacks",
                code="malformed_address",
                field="address",
            )
        number = number * 58 + digit
    leading_zeros = len(text) - len(text.lstrip(_ALPHABET[0]))
    return b"\0" * leading_zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
