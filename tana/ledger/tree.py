"""The state tree: a persistent map from keys to values with one root hash and short proofs.

Theory of operation. Rows live at the path SHA-256(key), read four bits at a time. A subtree of up to
`BUCKET_ENTRIES` rows is one *bucket*, sorted by path; a larger one is a *branch* with 16 children. So the shape, and
with it the root, follows from the rows alone: not from the order in which they came or from rows that are gone.

    entry  = SHA-256(key) + SHA-256(value)                  64 bytes
    bucket = SHA-256(0x00 + entries in order)               an empty bucket is a child like any other
    branch = SHA-256(0x01 + the hashes of its 16 children)

A proof holds the branches from the root down and the whole bucket at their end, which shows that a row is there, or
that it is not. Nodes are never changed once made: an update copies the path, shares the rest, and the tree before it
stays whole, which makes it cheap to keep a tree per candidate block.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

BUCKET_ENTRIES = 32
"""The most rows of a subtree that is a bucket: the balance of hashing per change against depth."""

MAX_PATHS = 4096
"""Paths that are remembered: those of the keys that were asked last. A block reads most rows before it writes them."""

_WIDTH = 16
_HASH_BYTES = 32
_ENTRY_BYTES = 2 * _HASH_BYTES
_MAX_DEPTH = 2 * _HASH_BYTES
_BUCKET_TAG = b"\0"
_BRANCH_TAG = b"\1"

_Change = tuple[bytes, bytes, bytes | None]
"""Path, key, and the new value or None for a row that goes."""


class _Bucket:
    """Up to `BUCKET_ENTRIES` rows, sorted by path; three columns side by side.

    Tuples of bytes: the garbage collector stops looking into those, and a big state has very many.
    """

    __slots__ = ("count", "entries", "hash", "keys", "values")

    def __init__(self, entries: Sequence[bytes], keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        self.entries = tuple(entries)
        self.keys = tuple(keys)
        self.values = tuple(values)
        self.count = len(entries)
        self.hash: bytes = hashlib.sha256(_BUCKET_TAG + b"".join(entries)).digest()


class _Branch:
    """16 subtrees with more than `BUCKET_ENTRIES` rows together."""

    __slots__ = ("children", "count", "hash")

    def __init__(self, children: list[_Node], count: int) -> None:
        self.children = children
        self.count = count
        self.hash: bytes = hashlib.sha256(_BRANCH_TAG + b"".join([child.hash for child in children])).digest()


_Node = _Bucket | _Branch
_EMPTY_BUCKET = _Bucket((), (), ())


@dataclass(frozen=True, slots=True)
class Proof:
    """What ties one key to a root: per branch its 16 child hashes, from the root down; then the bucket's entries."""

    branches: tuple[bytes, ...]
    bucket: bytes


class StateTree:
    """An immutable map from bytes to bytes. Begin with `StateTree()`, which is empty; `node` is what others share."""

    __slots__ = ("_node",)

    def __init__(self, rows: Iterable[tuple[bytes, bytes]] = (), *, node: _Node = _EMPTY_BUCKET) -> None:
        changes = _sorted_changes(dict(rows))
        self._node = _apply(node, 0, changes) if changes else node

    @property
    def root(self) -> bytes:
        """32 bytes that commit to every row."""
        return self._node.hash

    def __len__(self) -> int:
        return self._node.count

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, None where there is no row."""
        path = _get_path(key)
        _, bucket = _descend(self._node, path)
        index = bisect_left(bucket.entries, path)
        if index < bucket.count and bucket.keys[index] == key:
            return bucket.values[index]
        return None

    def updated(self, changes: Mapping[bytes, bytes | None]) -> StateTree:
        """The tree with rows set, or removed where the value is None. This one stays as it is."""
        return StateTree(node=_apply(self._node, 0, _sorted_changes(changes))) if changes else self

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every row, in order of path: an order that all nodes share and that means nothing."""
        for bucket in _buckets(self._node):
            yield from zip(bucket.keys, bucket.values, strict=True)

    def prove(self, key: bytes) -> Proof:
        """A proof of the key's value, or of its absence, for `verify_proof`."""
        branches, bucket = _descend(self._node, _get_path(key))
        return Proof(
            tuple(b"".join([child.hash for child in branch.children]) for branch in branches),
            b"".join(bucket.entries),
        )


def verify_proof(root: bytes, key: bytes, value: bytes | None, proof: Proof) -> bool:
    """Whether `proof` shows that under `root` the key has this value, or no row where `value` is None."""
    path = hashlib.sha256(key).digest()
    expected = root
    if len(proof.branches) > _MAX_DEPTH:
        return False
    for depth, branch in enumerate(proof.branches):
        if len(branch) != _WIDTH * _HASH_BYTES or hashlib.sha256(_BRANCH_TAG + branch).digest() != expected:
            return False
        start = _nibble(path, depth) * _HASH_BYTES
        expected = branch[start : start + _HASH_BYTES]
    if len(proof.bucket) % _ENTRY_BYTES or hashlib.sha256(_BUCKET_TAG + proof.bucket).digest() != expected:
        return False
    entries = (proof.bucket[start : start + _ENTRY_BYTES] for start in range(0, len(proof.bucket), _ENTRY_BYTES))
    found = next((entry[_HASH_BYTES:] for entry in entries if entry.startswith(path)), None)
    return found == (None if value is None else hashlib.sha256(value).digest())


@lru_cache(maxsize=MAX_PATHS)
def _get_path(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _sorted_changes(changes: Mapping[bytes, bytes | None]) -> list[_Change]:
    return sorted([(_get_path(key), key, value) for key, value in changes.items()])


def _nibble(path: bytes, depth: int) -> int:
    byte = path[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def _descend(node: _Node, path: bytes) -> tuple[list[_Branch], _Bucket]:
    branches = []
    while isinstance(node, _Branch):
        branches.append(node)
        node = node.children[_nibble(path, len(branches) - 1)]
    return branches, node


def _buckets(node: _Node) -> Iterator[_Bucket]:
    if isinstance(node, _Bucket):
        yield node
        return
    for child in node.children:
        yield from _buckets(child)


def _apply(node: _Node, depth: int, changes: list[_Change]) -> _Node:
    if isinstance(node, _Branch):
        return _apply_to_branch(node, depth, changes)
    return _apply_to_bucket(node, depth, changes)


def _apply_to_bucket(bucket: _Bucket, depth: int, changes: list[_Change]) -> _Node:
    entries, keys, values = list(bucket.entries), list(bucket.keys), list(bucket.values)
    for path, key, value in changes:
        index = bisect_left(entries, path)
        is_present = index < len(keys) and keys[index] == key
        if value is None:
            if is_present:
                del entries[index], keys[index], values[index]
            continue
        entry = path + hashlib.sha256(value).digest()
        if is_present:
            entries[index], values[index] = entry, value
        else:
            entries.insert(index, entry)
            keys.insert(index, key)
            values.insert(index, value)
    return _build(depth, entries, keys, values)


def _apply_to_branch(branch: _Branch, depth: int, changes: list[_Change]) -> _Node:
    children = branch.children.copy()
    count = branch.count
    start = 0
    while start < len(changes):
        nibble = _nibble(changes[start][0], depth)
        end = start + 1
        while end < len(changes) and _nibble(changes[end][0], depth) == nibble:
            end += 1
        child = _apply(children[nibble], depth + 1, changes[start:end])
        count += child.count - children[nibble].count
        children[nibble] = child
        start = end
    if count > BUCKET_ENTRIES:
        return _Branch(children, count)
    buckets = [bucket for child in children for bucket in _buckets(child)]
    return _Bucket(
        [entry for bucket in buckets for entry in bucket.entries],
        [key for bucket in buckets for key in bucket.keys],
        [value for bucket in buckets for value in bucket.values],
    )


def _build(depth: int, entries: list[bytes], keys: list[bytes], values: list[bytes]) -> _Node:
    """The node of sorted rows: a bucket where they fit into one, else a branch over their 16 parts."""
    if len(entries) <= BUCKET_ENTRIES:
        return _Bucket(entries, keys, values)
    children: list[_Node] = []
    start = 0
    for nibble in range(_WIDTH):
        end = start
        while end < len(entries) and _nibble(entries[end], depth) == nibble:
            end += 1
        children.append(_build(depth + 1, entries[start:end], keys[start:end], values[start:end]))
        start = end
    return _Branch(children, len(entries))
