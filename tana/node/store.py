"""The chain on disk: blocks, certificates, state rows, undo rows and an index of transactions, in SQLite.

Rules:
1. A block is there whole or not at all, and durable when `append` or `make_durable` returns (WAL, synchronous=FULL).
   Blocks that come together, as in sync, may share one transaction: nothing of them may be seen before it ends.
2. Heights are consecutive from 1. The rows of the genesis are written together with the chain id, before block 1.
3. A file belongs to one chain; another chain's file is refused, never overwritten.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tana.ledger.ledger import Execution
from tana.node.blocks import StoredBlock
from tana.types.block import Block, Certificate, Header
from tana.types.errors import InvalidInput, StorageError

_SCHEMA_VERSION = 1
_SCHEMA = """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE blocks (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, data BLOB NOT NULL, certificate BLOB NOT NULL);
    CREATE UNIQUE INDEX blocks_by_hash ON blocks (hash);
    CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE undo (height INTEGER PRIMARY KEY, changes BLOB NOT NULL);
    CREATE TABLE transactions (id BLOB PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID;
"""
_CACHE_KIB = 8 * 1024

Changes = tuple[tuple[bytes, bytes | None], ...]
_encoder = msgspec.msgpack.Encoder()
_certificate_decoder = msgspec.msgpack.Decoder(Certificate)
_changes_decoder = msgspec.msgpack.Decoder(Changes)


class ChainStore:
    """An open chain database. `height` is the last final height, 0 before block 1; also of blocks not yet durable."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self.height = self._read_height()

    @classmethod
    def open(cls, path: Path, chain_id: bytes, genesis_entries: Iterable[tuple[bytes, bytes]]) -> ChainStore:
        """The database of a chain; made with the state rows of its genesis where the file is not there.

        Raises `StorageError` for another chain's file, a damaged one, or a folder that cannot be written.
        """
        try:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", f"cache_size=-{_CACHE_KIB}"):
                connection.execute(f"PRAGMA {pragma}")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                _create(connection, chain_id, genesis_entries)
            found = dict(connection.execute("SELECT name, value FROM meta"))
            _check_owner(path, found, chain_id)
            store = cls(path, connection)
            store._check_heights()
        except sqlite3.Error as error:
            raise _unusable(path, error) from None
        return store

    def append(self, block: Block, certificate: Certificate, execution: Execution, *, is_durable: bool = True) -> None:
        """Persist the next final block with what it does to the state.

        Durable when this returns, or without `is_durable` once `make_durable` does. Raises `StorageError`; then nothing
        is there of this block and of those that were not durable yet.
        """
        assert block.height == self.height + 1, "blocks are final in order"
        assert certificate.block_hash == block.hash, "the certificate is for this block"
        execute = self._connection.execute
        with self._rolling_back():
            if not self._connection.in_transaction:
                execute("BEGIN IMMEDIATE")
            execute(
                "INSERT INTO blocks VALUES (?, ?, ?, ?)",
                (block.height, block.hash, block.data, _encoder.encode(certificate)),
            )
            self._write_state(execution.changes)
            execute("INSERT INTO undo VALUES (?, ?)", (block.height, _encoder.encode(execution.undo)))
            self._connection.executemany(
                "INSERT INTO transactions VALUES (?, ?)",
                ((bytes.fromhex(transaction_id), block.height) for transaction_id in execution.transaction_ids),
            )
            if is_durable:
                execute("COMMIT")
        self.height = block.height

    def make_durable(self) -> None:
        """End the transaction that `append` left open. Raises `StorageError`; then nothing of its blocks is there."""
        if self._connection.in_transaction:
            with self._rolling_back():
                self._connection.execute("COMMIT")

    def get_block(self, height: int) -> StoredBlock | None:
        """A final block and its certificate, None above the tip and below 1."""
        if not 1 <= height <= self.height:
            return None
        row = self._execute("SELECT data, certificate FROM blocks WHERE height = ?", (height,)).fetchone()
        return StoredBlock(row[0], _certificate_decoder.decode(row[1]))

    def find_transaction(self, transaction_id: str) -> int | None:
        """The height that committed a transaction, None where no final block has it."""
        try:
            key = bytes.fromhex(transaction_id)
        except ValueError:
            return None
        row = self._execute("SELECT height FROM transactions WHERE id = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def find_block(self, block_hash: bytes) -> int | None:
        """The height of a final block, None where no final block has that hash."""
        row = self._execute("SELECT height FROM blocks WHERE hash = ?", (block_hash,)).fetchone()
        return None if row is None else row[0]

    def load_entries(self) -> Iterator[tuple[bytes, bytes]]:
        """The state rows at the tip, sorted by key."""
        return iter(self._execute("SELECT key, value FROM state ORDER BY key"))

    def get_undo(self, height: int) -> Changes:
        """What the rows that a block changed held before it (None: they were absent)."""
        row = self._execute("SELECT changes FROM undo WHERE height = ?", (height,)).fetchone()
        return () if row is None else _changes_decoder.decode(row[0])

    def get_tip_header(self) -> Header | None:
        """The header of the last final block, None before block 1. Raises `StorageError` where it cannot be read."""
        stored = self.get_block(self.height)
        if stored is None:
            return None
        try:
            return Block.decode(stored.data).header
        except InvalidInput as error:
            raise _damaged(self.path, f"block {self.height}: {error.message}") from None

    def close(self) -> None:
        self._connection.close()

    def _write_state(self, changes: Changes) -> None:
        self._connection.executemany(
            "INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            ((key, value) for key, value in changes if value is not None),
        )
        self._connection.executemany(
            "DELETE FROM state WHERE key = ?", ((key,) for key, value in changes if value is None)
        )

    @contextlib.contextmanager
    def _rolling_back(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self.height = self._read_height()
            raise _unusable(self.path, error) from None

    def _read_height(self) -> int:
        height: int = self._execute("SELECT coalesce(max(height), 0) FROM blocks").fetchone()[0]
        return height

    def _check_heights(self) -> None:
        count = self._execute("SELECT count(*) FROM blocks").fetchone()[0]
        if count != self.height:
            raise _damaged(self.path, f"it has {count} blocks and the last is number {self.height}")

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from None


def _create(connection: sqlite3.Connection, chain_id: bytes, entries: Iterable[tuple[bytes, bytes]]) -> None:
    # executescript would commit on its own: the schema, the chain id and the first rows come into being together.
    connection.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _SCHEMA.split(";")):
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('schema', ?), ('chain_id', ?)", (_SCHEMA_VERSION, chain_id))
    connection.executemany("INSERT INTO state VALUES (?, ?)", entries)
    connection.execute("COMMIT")


def _check_owner(path: Path, found: dict[str, object], chain_id: bytes) -> None:
    if found.get("schema") != _SCHEMA_VERSION:
        raise StorageError(
            f"{path} has layout {found.get('schema')} and this program reads layout {_SCHEMA_VERSION}",
            remedy="run the version of Tana that wrote it",
        )
    if found.get("chain_id") != chain_id:
        owner = found.get("chain_id")
        raise StorageError(
            f"{path} holds chain {owner.hex() if isinstance(owner, bytes) else owner} and not chain {chain_id.hex()}",
            remedy="give this chain a data folder of its own with --data, or move the old folder away",
            code="other_chain",
        )


def _unusable(path: Path, error: sqlite3.Error) -> StorageError:
    if isinstance(error, sqlite3.OperationalError):
        return StorageError(f"{path} cannot be used: {error}", remedy="check the disk's space and the permissions")
    if isinstance(error, sqlite3.IntegrityError):
        return StorageError(
            f"{path} holds already what a new block brings: {error}",
            remedy="keep the data folder and report this: blocks of one chain never bring one thing twice",
        )
    return _damaged(path, str(error))


def _damaged(path: Path, fault: str) -> StorageError:
    return StorageError(
        f"{path} is damaged: {fault}", remedy="move it away and start again: the chain is fetched from the peers"
    )
