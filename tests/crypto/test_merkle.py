"""The Merkle tree of RFC 6962, held against its recursive definition."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from tana.crypto.merkle import EMPTY_ROOT, compute_root

leaves_lists = st.lists(st.binary(min_size=32, max_size=32), max_size=40)


def define_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word: split at the largest power of two below the count."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + define_root(leaves[:split]) + define_root(leaves[split:])).digest()


@given(leaves_lists)
def test_root_is_the_one_of_the_definition(leaves: list[bytes]) -> None:
    assert compute_root(leaves) == define_root(leaves)


@given(leaves_lists.filter(bool), st.data())
def test_root_changes_with_any_leaf_and_with_the_count(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    changed = [*leaves[:index], hashlib.sha256(leaves[index]).digest(), *leaves[index + 1 :]]
    assert compute_root(changed) != compute_root(leaves)
    assert compute_root([*leaves, leaves[-1]]) != compute_root(leaves)
    assert compute_root(leaves[:-1]) != compute_root(leaves)


def test_empty_root() -> None:
    assert compute_root([]) == EMPTY_ROOT
