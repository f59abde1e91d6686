"""The key registry: what revokes a key, what does not, and what survives a crash."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tana.auth.keys import KeyRegistry
from tana.crypto.keys import KeyPair
from tana.types.errors import InvalidInput, StorageError

KEY_A = KeyPair.from_seed(b"a" * 32)
KEY_B = KeyPair.from_seed(b"b" * 32)


def node(node_id: str, key: KeyPair = KEY_A, status: str = "active", service: str = "ledger") -> dict[str, Any]:
    services = [{"service_type": service, "port": 8080, "public_key": key.public_text}]
    return {"id": node_id, "public_key": KEY_B.public_text, "status": status, "services": services}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service-keys.json"


def test_only_approved_nodes_have_keys() -> None:
    registry = KeyRegistry()
    statuses = ("active", "offline", "pending", "denied")
    changes = registry.update([node(f"node-{status}", status=status) for status in statuses])
    assert changes.added == (("node-active", "ledger"), ("node-offline", "ledger"))
    assert registry.get("node-active", "ledger") == KEY_A.public_key
    assert registry.get("node-offline", "ledger") == KEY_A.public_key
    assert registry.get("node-pending", "ledger") is None
    assert registry.get("node-denied", "ledger") is None


def test_keys_are_found_by_node_and_service() -> None:
    registry = KeyRegistry()
    registry.update([node("node-1"), node("node-2", KEY_B, service="t4")])
    assert registry.get("node-1", "t4") is None
    assert registry.get("node-2", "ledger") is None
    assert registry.get("node-2", "t4") == KEY_B.public_key


def test_a_late_heartbeat_revokes_nothing() -> None:
    registry = KeyRegistry()
    registry.update([node("node-1")])
    changes = registry.update([node("node-1", status="offline")])
    assert not changes.added
    assert not changes.revoked
    assert registry.get("node-1", "ledger") == KEY_A.public_key


@pytest.mark.parametrize("rows", [[node("node-1", status="denied")], []], ids=["denied", "removed"])
def test_denial_and_removal_revoke(path: Path, rows: list[dict[str, Any]]) -> None:
    registry = KeyRegistry(path)
    registry.update([node("node-1")])
    assert registry.update(rows).revoked == (("node-1", "ledger"),)
    assert registry.get("node-1", "ledger") is None
    assert KeyRegistry(path).get("node-1", "ledger") is None


def test_another_key_replaces_and_is_reported_as_both() -> None:
    registry = KeyRegistry()
    registry.update([node("node-1")])
    changes = registry.update([node("node-1", KEY_B)])
    assert changes.added == changes.revoked == (("node-1", "ledger"),)
    assert registry.get("node-1", "ledger") == KEY_B.public_key


def test_restart_without_a_mesh_keeps_every_key(path: Path) -> None:
    KeyRegistry(path).update([node("node-1"), node("node-2", KEY_B, "offline")])
    registry = KeyRegistry(path)
    assert len(registry) == 2
    assert registry.get("node-1", "ledger") == KEY_A.public_key
    assert registry.get("node-2", "ledger") == KEY_B.public_key


def test_an_equal_list_writes_nothing(path: Path) -> None:
    registry = KeyRegistry(path)
    registry.update([node("node-1")])
    before = path.stat().st_ino
    registry.update([node("node-1", status="offline")])
    assert path.stat().st_ino == before


def test_no_file_means_no_keys(path: Path) -> None:
    assert len(KeyRegistry(path)) == 0
    assert not path.exists()


def test_invalid_malformed_key_costs_only_that_service() -> None:
    bad = node("node-1")
    bad["services"].append({"service_type": "t4", "port": 8180, "public_key": "ed25519_zz"})
    bad["services"].append({"service_type": "mesh", "port": 8190})
    bad["services"].append({"service_type": "consensus", "port": 9000, "public_key": None})
    registry = KeyRegistry()
    changes = registry.update([bad])
    assert changes.added == (("node-1", "ledger"),)
    assert changes.skipped == (("node-1", "mesh"), ("node-1", "t4"))


@pytest.mark.parametrize("row", [{"status": "active"}, {"status": "active", "id": 5, "services": []}])
def test_invalid_row_leaves_the_list_as_it_was(row: dict[str, Any]) -> None:
    registry = KeyRegistry()
    registry.update([node("node-1")])
    with pytest.raises(InvalidInput):
        registry.update([row])
    assert registry.get("node-1", "ledger") == KEY_A.public_key


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version":1}',
        b'{"version":2,"keys":[]}',
        b'{"version":1,"keys":[{"nodeId":"a","serviceId":"t4","publicKey":"ed25519_00"}]}',
        b'{"version":1,"keys":[],"more":1}',
        b'{"version":1,"keys":[{"nodeId":"\xff","serviceId":"t4","publicKey":""}]}',
    ],
)
def test_invalid_damaged_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        KeyRegistry(path)
    assert str(path) in caught.value.message
    assert caught.value.remedy


def test_invalid_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        KeyRegistry(tmp_path)


def test_invalid_full_disk_keeps_the_old_list(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = KeyRegistry(path)
    registry.update([node("node-1")])
    before = path.read_bytes()

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="No space left"):
        registry.update([])
    assert registry.get("node-1", "ledger") == KEY_A.public_key
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
