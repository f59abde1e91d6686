"""A binary Merkle tree over a list of hashes, as RFC 6962 (section 2.1) builds it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def compute_root(leaves: Sequence[bytes]) -> bytes:
    """The 32-byte root of a list of leaves; `EMPTY_ROOT` for none."""
    if not leaves:
        return EMPTY_ROOT
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        paired = [
            hashlib.sha256(b"\1" + level[index] + level[index + 1]).digest() for index in range(0, len(level) - 1, 2)
        ]
        # An odd node at the end moves up as it is, which gives RFC 6962's split at the largest power of two.
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]
