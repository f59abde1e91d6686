"""Ed25519 keys and signatures in the forms that Tana clients print them.

What is signed is always the SHA-256 digest of a message (for JSON, of its UTF-8 text); see `sign_text`.
Key: `ed25519_` + 64 hex (private: the 32-byte seed, RFC 8032). Signature: `ed25519_sig_` + 128 hex; also read
are `ed25519_` + 128 hex and bare hex.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import CryptoError
from nacl.utils import random as secure_random

from tana.types.canonical import to_utf8
from tana.types.errors import InvalidInput

PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64
KEY_PREFIX = "ed25519_"
SIGNATURE_PREFIX = "ed25519_sig_"


class Verifier(Protocol):
    """Says whether `signature` over SHA-256(`message`) is by `public_key` (32 bytes). Never raises."""

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool: ...


class Signer(Protocol):
    """A private key that only signs: `public_key` (32 bytes) and `sign(message) -> 64 bytes`."""

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True)
class KeyPair:
    """An Ed25519 key pair. Its representation never shows the private part."""

    public_key: bytes
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> KeyPair:
        """A new key from the system's secure randomness."""
        return cls.from_seed(secure_random(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        """The key of a 32-byte seed (RFC 8032, 5.1.5). Raises `InvalidInput` for another length."""
        if len(seed) != SEED_BYTES:
            raise InvalidInput(f"a private key has {SEED_BYTES} bytes, not {len(seed)}", code="malformed_key")
        public_key, _ = crypto_sign_seed_keypair(seed)
        return cls(public_key, seed)

    @classmethod
    def from_text(cls, private_key: str, field_name: str = "privateKey") -> KeyPair:
        """The key of a printed private key. Raises `InvalidInput`; the message never repeats the key."""
        return cls.from_seed(_parse_hex(private_key, SEED_BYTES, (KEY_PREFIX,), field_name, "malformed_key"))

    @property
    def public_text(self) -> str:
        return format_public_key(self.public_key)

    @property
    def private_text(self) -> str:
        """The secret, as key files hold it. Never log it."""
        return KEY_PREFIX + self.seed.hex()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over SHA-256(message)."""
        digest = hashlib.sha256(message).digest()
        return crypto_sign(digest, self.seed + self.public_key)[:SIGNATURE_BYTES]

    def sign_text(self, text: str) -> str:
        """The printed signature over a UTF-8 text: `ed25519_sig_` + 128 hex."""
        return format_signature(self.sign(to_utf8(text)))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` over SHA-256(`message`) is by `public_key`. False for malformed input, never raises."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    digest = hashlib.sha256(message).digest()
    try:
        crypto_sign_open(signature + digest, public_key)
    except CryptoError:
        return False
    return True


def verify_text(public_key: str, text: str, signature: str) -> bool:
    """Whether a printed signature over a UTF-8 text is by a printed key.

    Raises `InvalidInput` where key or signature are malformed: that is another error than a wrong signature.
    """
    return verify(parse_public_key(public_key), to_utf8(text), parse_signature(signature))


def parse_public_key(text: str, field_name: str = "publicKey") -> bytes:
    """The 32 bytes of a printed public key. Raises `InvalidInput` that names `field_name`."""
    return _parse_hex(text, PUBLIC_KEY_BYTES, (KEY_PREFIX,), field_name, "malformed_key")


def parse_signature(text: str, field_name: str = "signature") -> bytes:
    """The 64 bytes of a printed signature in any of the three forms. Raises `InvalidInput` that names `field_name`."""
    prefixes = (SIGNATURE_PREFIX, KEY_PREFIX)
    return _parse_hex(text, SIGNATURE_BYTES, prefixes, field_name, "malformed_signature")


def format_public_key(public_key: bytes) -> str:
    return KEY_PREFIX + public_key.hex()


def format_signature(signature: bytes) -> str:
    return SIGNATURE_PREFIX + signature.hex()


def _parse_hex(text: str, size_bytes: int, prefixes: tuple[str, ...], field_name: str, code: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidInput(f"{field_name} must be a string", code=code, field=field_name)
    digits = text
    for prefix in prefixes:
        if text.startswith(prefix):
            digits = text[len(prefix) :]
            break
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = b""
    # Both lengths: blanks between the digits are passed over.
    if len(digits) != 2 * size_bytes or len(data) != size_bytes:
        raise InvalidInput(
            f"{field_name} is malformed",
            remedy=f"give {prefixes[0]} followed by {2 * size_bytes} hexadecimal characters",
            code=code,
            field=field_name,
        )
    return data
