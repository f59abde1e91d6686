"""The mesh's memory on disk: one SQLite file, opened by one mesh at a time.

WAL with full sync: what `write` returned from survives a power cut. The exclusive lock stays with the process, so
that no second mesh can decide over the same file from a memory of its own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tana.mesh.records import (
    Change,
    Consensus,
    Heartbeat,
    InsertGenesis,
    InsertNode,
    InsertSovereign,
    Node,
    Service,
    Snapshot,
    Sovereign,
    UpdateNode,
)
from tana.types import canonical
from tana.types.errors import InvalidInput, SettingsError, StorageError
from tana.types.genesis import parse_signed_genesis

_APPLICATION_ID = 0x54414E41  # "TANA" in the file's header
_SCHEMA_VERSION = 1
_LOCK_TIMEOUT_MS = 1_000  # a mesh that is just stopping may still hold the file

_SCHEMA = (
    "CREATE TABLE sovereigns (public_key TEXT PRIMARY KEY, added_by TEXT, added_ms INTEGER NOT NULL)",
    """CREATE TABLE nodes (
        id TEXT PRIMARY KEY, public_key TEXT NOT NULL UNIQUE, tailscale_hostname TEXT NOT NULL, tailscale_ip TEXT,
        registration_signature TEXT NOT NULL, body_signature TEXT, registered_ms INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pending', 'active', 'offline', 'denied')),
        approved_ms INTEGER, approved_by TEXT, denied_ms INTEGER, denied_by TEXT,
        heartbeat_received_ms INTEGER, heartbeat_timestamp_ms INTEGER, heartbeat_body_signed INTEGER,
        reported_ip TEXT, consensus TEXT)""",
    """CREATE TABLE services (
        node_id TEXT NOT NULL REFERENCES nodes (id), position INTEGER NOT NULL, type TEXT NOT NULL,
        port INTEGER NOT NULL, public_key TEXT NOT NULL, healthy INTEGER, last_check BLOB,
        PRIMARY KEY (node_id, type)) WITHOUT ROWID""",
    "CREATE TABLE genesis (only INTEGER PRIMARY KEY CHECK (only = 1), body TEXT NOT NULL)",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO counters VALUES ('last_event_id', 0)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)


class SqliteStore:
    """The file at `path`, made with its folder where there is none.

    Raises `SettingsError` where the folder or file cannot be written or another mesh has it open, `StorageError` where
    it is damaged or no mesh database. One thread at a time may use it. A file in use is waited for `lock_timeout_ms`.
    """

    def __init__(self, path: Path, lock_timeout_ms: int = _LOCK_TIMEOUT_MS) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(f"its folder cannot be made: {error.strerror}") from None
        try:
            # Not bound to the opening thread: a server may be started from another one than it runs in.
            self._database = sqlite3.connect(
                path, timeout=lock_timeout_ms / 1000, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._unusable(str(error)) from None
        try:
            self._open()
        except sqlite3.Error as error:
            self._database.close()
            raise self._explain(error) from None
        except StorageError:
            self._database.close()
            raise

    def load(self) -> Snapshot:
        """Everything in the file. Raises `StorageError` where it cannot be read or does not make sense."""
        try:
            return self._load()
        except (sqlite3.Error, InvalidInput, LookupError, ValueError) as error:
            raise self._damaged(str(error)) from None

    def write(self, changes: Sequence[Change], last_event_id: int) -> None:
        """Write all of the changes, or none, and return when they are on disk. Raises `StorageError`."""
        try:
            with self._transaction():
                for change in changes:
                    self._write(change)
                self._database.execute("UPDATE counters SET value = ? WHERE name = 'last_event_id'", (last_event_id,))
        except sqlite3.Error as error:
            raise StorageError(
                f"the mesh database {self.path} cannot be written: {error}",
                remedy="look for a full disk or missing permissions, then send the request again",
                code="storage_write",
            ) from None

    def close(self) -> None:
        self._database.close()

    def _open(self) -> None:
        execute = self._database.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA foreign_keys = ON")
        if execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            with self._transaction():
                for statement in _SCHEMA:
                    execute(statement)
        if execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            raise StorageError(
                f"{self.path} is a database, but not of a mesh", remedy="give another file with --db or MESH_DB_PATH"
            )
        version = execute("PRAGMA user_version").fetchone()[0]
        if version != _SCHEMA_VERSION:
            raise StorageError(
                f"{self.path} has schema {version}, this version reads {_SCHEMA_VERSION}",
                remedy="start it with the version of tana that wrote it",
            )
        finding = execute("PRAGMA quick_check(1)").fetchone()[0]
        if finding != "ok":
            raise self._damaged(finding)
        # The exclusive lock is taken by the first write; take it now, before anything is promised.
        with self._transaction():
            execute("UPDATE counters SET value = value")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _write(self, change: Change) -> None:
        execute = self._database.execute
        match change:
            case InsertNode(node):
                self._insert_node(node)
            case UpdateNode(node):
                self._update_node(node)
            case InsertSovereign(sovereign):
                row = (sovereign.public_key, sovereign.added_by, sovereign.added_ms)
                execute("INSERT INTO sovereigns VALUES (?, ?, ?)", row)
            case InsertGenesis(signed):
                execute("INSERT INTO genesis VALUES (1, ?)", (canonical.dumps(signed.to_json()),))

    def _insert_node(self, node: Node) -> None:
        columns = "id, public_key, tailscale_hostname, registration_signature, body_signature, registered_ms, status"
        self._database.execute(
            f"INSERT INTO nodes ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                node.id,
                node.public_key,
                node.tailscale_hostname,
                node.registration_signature,
                node.body_signature,
                node.registered_ms,
                node.status,
            ),
        )
        self._database.executemany(
            "INSERT INTO services (node_id, position, type, port, public_key) VALUES (?, ?, ?, ?, ?)",
            [(node.id, place, item.type, item.port, item.public_key) for place, item in enumerate(node.services)],
        )
        self._update_node(node)

    def _update_node(self, node: Node) -> None:
        """Only what may change is written: id, keys and registration stay as inserted."""
        beat = node.heartbeat
        self._database.execute(
            """UPDATE nodes SET tailscale_ip = ?, status = ?, approved_ms = ?, approved_by = ?, denied_ms = ?,
            denied_by = ?, heartbeat_received_ms = ?, heartbeat_timestamp_ms = ?, heartbeat_body_signed = ?,
            reported_ip = ?, consensus = ? WHERE id = ?""",
            (
                node.tailscale_ip,
                node.status,
                node.approved_ms,
                node.approved_by,
                node.denied_ms,
                node.denied_by,
                beat.received_ms if beat else None,
                beat.timestamp_ms if beat else None,
                beat.body_signed if beat else None,
                beat.reported_ip if beat else None,
                _dump_consensus(beat.consensus) if beat and beat.consensus else None,
                node.id,
            ),
        )
        self._database.executemany(
            "UPDATE services SET healthy = ?, last_check = ? WHERE node_id = ? AND type = ?",
            [(item.healthy, item.last_check, node.id, item.type) for item in node.services],
        )

    def _load(self) -> Snapshot:
        def query(statement: str) -> list[dict[str, Any]]:
            cursor = self._database.execute(statement)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

        services: dict[str, list[Service]] = {}
        for row in query("SELECT * FROM services ORDER BY node_id, position"):
            services.setdefault(row["node_id"], []).append(_read_service(row))
        genesis = query("SELECT body FROM genesis")
        return Snapshot(
            sovereigns=tuple(Sovereign(**row) for row in query("SELECT * FROM sovereigns ORDER BY rowid")),
            nodes=tuple(
                _read_node(row, tuple(services.get(row["id"], ())))
                for row in query("SELECT * FROM nodes ORDER BY rowid")
            ),
            genesis=parse_signed_genesis(canonical.loads(genesis[0]["body"])) if genesis else None,
            last_event_id=query("SELECT value FROM counters WHERE name = 'last_event_id'")[0]["value"],
        )

    def _explain(self, error: sqlite3.Error) -> SettingsError | StorageError:
        # The exact class of an open error differs by build; the result code does not.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return SettingsError(
                f"the mesh database {self.path} is in use by another process",
                remedy="stop the other mesh, or give another file with --db or MESH_DB_PATH",
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(str(error))
        if code == sqlite3.SQLITE_FULL:
            return self._unusable(str(error), "free some space on that disk, or give a file on another")
        return self._unusable(str(error))

    def _unusable(
        self, reason: str, remedy: str = "give a file in a folder that you may write, with --db or MESH_DB_PATH"
    ) -> SettingsError:
        return SettingsError(f"the mesh database {self.path} cannot be used: {reason}", remedy=remedy)

    def _damaged(self, reason: str) -> StorageError:
        return StorageError(
            f"the mesh database {self.path} is damaged, or no mesh database: {reason}",
            remedy="restore it from a backup, or give another file with --db or MESH_DB_PATH",
        )


def _dump_consensus(consensus: Consensus) -> str:
    return json.dumps([consensus.height, consensus.block_hash, consensus.state_root, consensus.state])


def _read_service(row: dict[str, Any]) -> Service:
    healthy = None if row["healthy"] is None else bool(row["healthy"])
    return Service(row["type"], row["port"], row["public_key"], healthy, row["last_check"])


def _read_node(row: dict[str, Any], services: tuple[Service, ...]) -> Node:
    heartbeat = None
    if row["heartbeat_received_ms"] is not None:
        heartbeat = Heartbeat(
            received_ms=row["heartbeat_received_ms"],
            timestamp_ms=row["heartbeat_timestamp_ms"],
            body_signed=bool(row["heartbeat_body_signed"]),
            reported_ip=row["reported_ip"],
            consensus=Consensus(*json.loads(row["consensus"])) if row["consensus"] else None,
        )
    same_names = (
        "id public_key tailscale_hostname tailscale_ip registration_signature body_signature registered_ms "
        "status approved_ms approved_by denied_ms denied_by"
    )
    return Node(**{name: row[name] for name in same_names.split()}, services=services, heartbeat=heartbeat)
