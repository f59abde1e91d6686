"""A cheap stand-in for Ed25519: a hash keyed with the public key.

Whoever knows the public key can make it, so it protects nothing; but a signature over other bytes or by another key is
wrong, which is all that a simulation asks of one. It costs a fiftieth of a real one.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from tana.crypto.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES

MESSAGES_REMEMBERED = 256
"""Whoever receives a message asks for the signature that its sender has just made."""


class StandInKey:
    """See `tana.crypto.keys.Signer`."""

    __slots__ = ("public_key",)

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        return _compute_signature(self.public_key, message)


def verify_stand_in(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """See `tana.crypto.keys.Verifier`."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        return False
    return _compute_signature(public_key, message) == signature


@lru_cache(MESSAGES_REMEMBERED)
def _compute_signature(public_key: bytes, message: bytes) -> bytes:
    return blake2b(message, digest_size=SIGNATURE_BYTES, key=public_key).digest()
