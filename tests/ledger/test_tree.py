"""The state tree: its root follows from its rows alone, and proofs hold for these and no others."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from tana.ledger.tree import BUCKET_ENTRIES, Proof, StateTree, verify_proof

# Few keys, so that changes meet rows that exist; enough of them that buckets split and join.
KEYS = [f"key-{number}".encode() for number in range(200)]
rows = st.dictionaries(st.sampled_from(KEYS), st.binary(max_size=8), max_size=200)
changes = st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=8), max_size=200)


def applied(before: dict[bytes, bytes], changed: dict[bytes, bytes | None]) -> dict[bytes, bytes]:
    merged = {**before, **changed}
    return {key: value for key, value in merged.items() if value is not None}


@settings(deadline=None)
@given(rows, st.lists(changes, max_size=4))
def test_updates_equal_a_fresh_tree(before: dict[bytes, bytes], steps: list[dict[bytes, bytes | None]]) -> None:
    tree, model = StateTree(before.items()), before
    for step in steps:
        earlier_root = tree.root
        updated = tree.updated(step)
        assert tree.root == earlier_root
        assert dict(tree.items()) == model
        tree, model = updated, applied(model, step)
    assert tree.root == StateTree(model.items()).root
    assert dict(tree.items()) == model
    assert len(tree) == len(model)
    assert all(tree.get(key) == model.get(key) for key in KEYS)


@settings(deadline=None)
@given(rows, st.sampled_from(KEYS))
def test_proofs_of_presence_and_absence(before: dict[bytes, bytes], key: bytes) -> None:
    tree = StateTree(before.items())
    proof, value = tree.prove(key), before.get(key)
    assert verify_proof(tree.root, key, value, proof)
    assert not verify_proof(tree.root, key, b"another value", proof)
    assert not verify_proof(tree.root, key, None if value is not None else b"", proof)
    assert not verify_proof(hashlib.sha256(b"another root").digest(), key, value, proof)


@settings(deadline=None)
@given(rows.filter(bool), st.data())
def test_root_commits_to_every_byte(before: dict[bytes, bytes], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(before)))
    tree = StateTree(before.items())
    assert tree.updated({key: before[key] + b"!"}).root != tree.root
    assert tree.updated({key: None}).root != tree.root
    assert tree.updated({key: before[key]}).root == tree.root


def test_a_full_bucket_splits_and_joins_again() -> None:
    full = StateTree((key, b"value") for key in KEYS[:BUCKET_ENTRIES])
    split = full.updated({KEYS[BUCKET_ENTRIES]: b"value"})
    assert full.prove(KEYS[0]).branches == ()
    assert len(split.prove(KEYS[0]).branches) >= 1
    assert split.updated({KEYS[BUCKET_ENTRIES]: None}).root == full.root


def test_the_root_is_what_the_rules_say() -> None:
    path = hashlib.sha256(b"key").digest()
    entry = path + hashlib.sha256(b"value").digest()
    assert StateTree([(b"key", b"value")]).root == hashlib.sha256(b"\0" + entry).digest()
    assert StateTree().root == hashlib.sha256(b"\0").digest()


def test_no_changes_give_the_same_tree() -> None:
    tree = StateTree([(b"key", b"value")])
    assert tree.updated({}) is tree


def test_removing_what_is_not_there_changes_nothing() -> None:
    tree = StateTree([(b"key", b"value")])
    assert tree.updated({b"other": None}).root == tree.root


def test_invalid_proof_without_an_entry() -> None:
    tree = StateTree((key, b"value") for key in KEYS)
    proof = tree.prove(KEYS[0])
    without = b"".join(
        proof.bucket[start : start + 64]
        for start in range(0, len(proof.bucket), 64)
        if not proof.bucket.startswith(hashlib.sha256(KEYS[0]).digest(), start)
    )
    assert not verify_proof(tree.root, KEYS[0], None, Proof(proof.branches, without))


def test_invalid_proof_of_another_path() -> None:
    tree = StateTree((key, b"value") for key in KEYS)
    nibble = hashlib.sha256(KEYS[0]).digest()[0] >> 4
    other = next(key for key in KEYS if hashlib.sha256(key).digest()[0] >> 4 != nibble)
    assert not verify_proof(tree.root, KEYS[0], None, tree.prove(other))


def test_invalid_proof_truncated_or_deeper_than_any_tree() -> None:
    tree = StateTree((key, b"value") for key in KEYS)
    proof = tree.prove(KEYS[0])
    hostile = [
        Proof((), proof.bucket),
        Proof(proof.branches[:-1], proof.bucket),
        Proof(proof.branches, proof.bucket[:-1]),
        Proof(proof.branches, b""),
        Proof((proof.branches[0][:-1],), proof.bucket),
        Proof((b"",), proof.bucket),
        Proof(proof.branches * 100, proof.bucket),
        Proof((), proof.branches[0]),
    ]
    assert not any(verify_proof(tree.root, KEYS[0], b"value", item) for item in hostile)
