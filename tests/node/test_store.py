"""The chain on disk: one block is one transaction, and replay ends in the same state root."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tana.ledger.ledger import Ledger
from tana.node.folder import DataFolder
from tana.node.runtime import open_chain
from tana.node.store import ChainStore
from tana.types.block import Block
from tana.types.errors import StorageError
from tests.node.chain import VALIDATOR, Chain
from tests.node.cluster import ALICE, make_genesis, make_transfer
from tests.node.full_disk import limit_file_size


def _open(path: Path, chain: Chain) -> ChainStore:
    return ChainStore.open(path, chain.signed.chain_id, chain.genesis_entries)


def _fill(path: Path, chain: Chain, blocks: int = 3) -> None:
    store = _open(path, chain)
    for nonce in range(blocks):
        store.append(*chain.grow(make_transfer(nonce)))
    store.close()


def test_restored_ledger_is_the_same(tmp_path: Path) -> None:
    chain = Chain()
    _fill(tmp_path / "chain.db", chain)
    data = DataFolder(tmp_path)
    store, ledger = open_chain(data, chain.signed)
    store.close()
    assert (ledger.height, ledger.block_hash, ledger.state_root) == (
        3,
        chain.ledger.block_hash,
        chain.ledger.state_root,
    )
    assert ledger.validators == chain.ledger.validators
    account = ledger.get_account(ALICE.public_text)
    assert account is not None
    assert account.nonce == 3


def test_replay_of_the_stored_blocks_ends_in_the_same_state(tmp_path: Path) -> None:
    chain = Chain()
    _fill(tmp_path / "chain.db", chain)
    store = _open(tmp_path / "chain.db", chain)
    replayed = Ledger.from_genesis(chain.signed.genesis)
    for height in range(1, store.height + 1):
        stored = store.get_block(height)
        assert stored is not None
        block = Block.decode(stored.data)
        replayed.execute(block)
        replayed.commit(block)
    assert list(store.load_entries()) == sorted(replayed.tree.items())
    store.close()


def test_blocks_transactions_and_hashes_are_found(tmp_path: Path) -> None:
    chain = Chain()
    _fill(tmp_path / "chain.db", chain)
    store = _open(tmp_path / "chain.db", chain)
    for block, certificate, execution in chain.steps:
        stored = store.get_block(block.height)
        assert stored is not None
        assert (stored.data, stored.certificate) == (block.data, certificate)
        assert store.find_block(block.hash) == block.height
        assert store.find_transaction(execution.transaction_ids[0]) == block.height
        assert store.get_undo(block.height) == execution.undo
    assert store.get_block(0) is None
    assert store.get_block(4) is None
    assert store.find_transaction("00" * 32) is None
    assert store.find_transaction("not hex") is None
    assert store.find_block(b"\0" * 32) is None
    store.close()


def test_failed_append_leaves_nothing(tmp_path: Path) -> None:
    chain = Chain()
    path = tmp_path / "chain.db"
    _fill(path, chain, blocks=1)
    step = chain.grow(make_transfer(1))
    store = _open(path, chain)
    before = list(store.load_entries())
    # The transaction index is written last: what stands before it must vanish with it.
    with sqlite3.connect(path) as other:
        other.execute("INSERT INTO transactions VALUES (?, 7)", (bytes.fromhex(step[2].transaction_ids[0]),))
    other.close()
    with pytest.raises(StorageError, match=r"chain\.db"):
        store.append(*step)
    assert store.height == 1
    assert store.get_block(2) is None
    assert list(store.load_entries()) == before
    store.close()
    store = _open(path, chain)
    assert store.height == 1
    store.close()


def test_crash_before_any_statement_leaves_the_block_before(tmp_path: Path) -> None:
    chain = Chain()
    path = tmp_path / "chain.db"
    _fill(path, chain, blocks=1)
    entries_before = list(chain.ledger.tree.items())
    store = _open(path, chain)
    copies: list[Path] = []

    def copy_files(_statement: str) -> None:
        # What a crash just before this statement leaves on the disk.
        folder = tmp_path / f"crash-{len(copies)}"
        folder.mkdir()
        for file in tmp_path.glob("chain.db*"):
            shutil.copy(file, folder)
        copies.append(folder)

    store._connection.set_trace_callback(copy_files)
    store.append(*chain.grow(make_transfer(1)))
    store._connection.set_trace_callback(None)
    store.close()
    assert len(copies) >= 6
    for folder in copies:
        crashed = _open(folder / "chain.db", chain)
        assert (crashed.height, crashed.get_block(2)) == (1, None)
        assert list(crashed.load_entries()) == sorted(entries_before)
        crashed.close()
    assert _reopen_height(path, chain) == 2


def test_blocks_share_one_flush_and_appear_together(tmp_path: Path) -> None:
    chain = Chain()
    path = tmp_path / "chain.db"
    store = _open(path, chain)
    for nonce in range(3):
        store.append(*chain.grow(make_transfer(nonce)), is_durable=False)
    assert store.height == 3
    assert _count_durable(path) == 0
    store.make_durable()
    assert _count_durable(path) == 3
    store.make_durable()
    store.append(*chain.grow(make_transfer(3)), is_durable=False)
    store.close()
    assert _reopen_height(path, chain) == 3, "what was not made durable is not there"


def test_invalid_disk_is_full_in_the_middle_of_many_blocks(tmp_path: Path) -> None:
    chain = Chain()
    path = tmp_path / "chain.db"
    _fill(path, chain, blocks=1)
    steps = [chain.grow(make_transfer(nonce)) for nonce in (1, 2)]
    store = _open(path, chain)
    for step in steps:
        store.append(*step, is_durable=False)
    with limit_file_size(0), pytest.raises(StorageError, match=r"chain\.db"):
        store.make_durable()
    assert (store.height, store.get_block(2)) == (1, None)
    store.close()
    assert _reopen_height(path, chain) == 1


def _count_durable(path: Path) -> int:
    """The blocks that somebody else sees."""
    with sqlite3.connect(path) as other:
        count: int = other.execute("SELECT count(*) FROM blocks").fetchone()[0]
    other.close()
    return count


def test_killed_at_any_byte_of_any_write(tmp_path: Path) -> None:
    """What was acknowledged is there, whole, and at most the block under way besides."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.node.kill_store", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert {kill["acknowledged"] for kill in kills} == {0, 1, 2, 3}
    for kill in kills:
        assert kill["same"], kill
        assert kill["acknowledged"] <= kill["height"] <= kill["acknowledged"] + 1, kill


def test_invalid_disk_is_full(tmp_path: Path) -> None:
    """The kernel refuses the bytes: an error with file and remedy, nothing of the block, and later it fits again."""
    chain = Chain()
    path = tmp_path / "chain.db"
    _fill(path, chain, blocks=1)
    step = chain.grow(make_transfer(1))
    store = _open(path, chain)
    for size_bytes in (0, 5000, 9000):
        with limit_file_size(size_bytes), pytest.raises(StorageError, match=r"chain\.db") as caught:
            store.append(*step)
        assert "space" in caught.value.remedy
        assert (store.height, store.get_block(2)) == (1, None)
    store.append(*step)
    store.close()
    assert _reopen_height(path, chain) == 2


def _reopen_height(path: Path, chain: Chain) -> int:
    store = _open(path, chain)
    store.close()
    return store.height


def test_invalid_other_chain(tmp_path: Path) -> None:
    chain = Chain()
    _fill(tmp_path / "chain.db", chain)
    other = make_genesis({"validator-9": VALIDATOR.public_key})
    with pytest.raises(StorageError) as caught:
        open_chain(DataFolder(tmp_path), other)
    assert caught.value.code == "other_chain"
    assert str(tmp_path / "chain.db") in caught.value.message
    assert caught.value.remedy


def test_invalid_state_row_changed(tmp_path: Path) -> None:
    chain = Chain()
    _fill(tmp_path / "chain.db", chain)
    with sqlite3.connect(tmp_path / "chain.db") as connection:
        connection.execute("UPDATE state SET value = x'00' WHERE key = (SELECT min(key) FROM state)")
    connection.close()
    with pytest.raises(StorageError, match="state has root") as caught:
        open_chain(DataFolder(tmp_path), chain.signed)
    assert str(tmp_path / "chain.db") in caught.value.message


def test_invalid_block_missing(tmp_path: Path) -> None:
    chain = Chain()
    _fill(tmp_path / "chain.db", chain)
    with sqlite3.connect(tmp_path / "chain.db") as connection:
        connection.execute("DELETE FROM blocks WHERE height = 2")
    connection.close()
    with pytest.raises(StorageError, match="2 blocks and the last is number 3"):
        _open(tmp_path / "chain.db", chain)


def test_invalid_no_database(tmp_path: Path) -> None:
    (tmp_path / "chain.db").write_bytes(b"this was never a database" * 100)
    with pytest.raises(StorageError, match="is damaged") as caught:
        _open(tmp_path / "chain.db", Chain())
    assert caught.value.remedy


def test_invalid_newer_layout(tmp_path: Path) -> None:
    chain = Chain()
    _fill(tmp_path / "chain.db", chain)
    with sqlite3.connect(tmp_path / "chain.db") as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE name = 'schema'")
    connection.close()
    with pytest.raises(StorageError, match="layout 99"):
        _open(tmp_path / "chain.db", chain)
