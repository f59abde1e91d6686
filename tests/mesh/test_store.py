"""Both stores keep what was written; the one on disk refuses what it cannot be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tana.mesh.memory import MemoryStore, MeshStore
from tana.mesh.records import InsertNode, InsertSovereign, Sovereign, UpdateNode
from tana.mesh.service import MeshService
from tana.mesh.store import SqliteStore
from tana.types.errors import SettingsError, StorageError
from tests.mesh.helpers import SOVEREIGN, World, make_genesis, make_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "mesh.db"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[MeshStore]:
    made: MeshStore = MemoryStore() if request.param == "memory" else SqliteStore(path)
    yield made
    made.close()


def fill(world: World) -> None:
    """At least one of everything that can be remembered."""
    for name in ("b", "a", "c"):
        world.register(name)
    world.approve("b")
    world.beat(
        "b",
        ip="100.64.0.50",
        services=[
            {"type": "ledger", "healthy": True, "lastCheck": 5},
            {"type": "t4", "healthy": False, "lastCheck": "2024-01-01"},
        ],
        consensus={"height": 2, "blockHash": "ab" * 32, "state": "syncing"},
    )
    world.deny("c")
    world.call("PUT", "/genesis", make_genesis().to_json())


def test_everything_comes_back(store: MeshStore) -> None:
    world = World(store)
    fill(world)
    before = world.service.registry
    paths = ("/nodes", "/info", "/genesis", "/topology", "/validators/active")
    answers = [world.call("GET", path, status="all") for path in paths]
    world.restart()
    after = world.service.registry
    assert after is not before
    assert list(after.nodes.items()) == list(before.nodes.items())
    assert after.sovereigns == before.sovereigns
    assert after.genesis == before.genesis
    assert [world.call("GET", path, status="all") for path in paths] == answers
    assert list(after.nodes) == ["b", "a", "c"]


def test_everything_comes_back_from_disk(path: Path) -> None:
    store = SqliteStore(path)
    fill(World(store))
    kept = store.load()
    store.close()
    again = SqliteStore(path)
    assert again.load() == kept
    again.close()


def test_other_sovereign_than_the_settings_say(store: MeshStore) -> None:
    MeshService(store, SOVEREIGN.public_text)
    with pytest.raises(StorageError) as caught:
        MeshService(store, make_key("another").public_text)
    assert caught.value.code == "other_sovereign"
    assert SOVEREIGN.public_text in caught.value.message
    assert "--db" in caught.value.remedy
    MeshService(store, SOVEREIGN.public_text)


def test_later_sovereign_is_not_the_first(store: MeshStore) -> None:
    MeshService(store, SOVEREIGN.public_text)
    second = make_key("second").public_text
    store.write((InsertSovereign(Sovereign(second, SOVEREIGN.public_text, 1)),), 1)
    with pytest.raises(StorageError):
        MeshService(store, second)


def test_changes_are_written_all_or_none(path: Path) -> None:
    store = SqliteStore(path)
    world = World(store)
    world.register("a")
    before = store.load()
    world.register("b")
    node = store.load().nodes[1]
    new = make_key("new")
    with pytest.raises(StorageError, match="cannot be written"):
        store.write((InsertSovereign(Sovereign(new.public_text, None, 1)), InsertNode(node)), 99)
    assert store.load().sovereigns == before.sovereigns
    assert store.load().last_event_id == 2
    store.close()


def test_disk_never_binds_an_id_or_key_again(path: Path) -> None:
    store = SqliteStore(path)
    world = World(store)
    world.register("a")
    node = store.load().nodes[0]
    changed = type(node)(
        **{name: getattr(node, name) for name in node.__slots__} | {"public_key": make_key("x").public_text}
    )
    with pytest.raises(StorageError):
        store.write((InsertNode(changed),), 2)
    store.write((UpdateNode(changed),), 2)
    assert store.load().nodes == (node,)
    store.close()


def test_a_failed_write_leaves_memory_and_listeners_as_they_were(path: Path) -> None:
    store = SqliteStore(path)
    world = World(store)
    world.register("a")
    told = len(world.events)
    store.close()
    status, answer = world.approve("a")
    assert (status, answer["code"]) == (500, "storage_write")
    assert world.get_node("a")["status"] == "pending"
    assert len(world.events) == told


def test_invalid_database_in_use(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(SettingsError, match="in use by another"):
        SqliteStore(path, lock_timeout_ms=0)
    store.close()
    SqliteStore(path).close()


def test_invalid_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as caught:
        SqliteStore(tmp_path / "file" / "mesh.db")
    assert "--db" in caught.value.remedy


def test_invalid_path_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        SqliteStore(tmp_path)


def test_invalid_file_that_is_no_database(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(StorageError, match="no mesh database"):
        SqliteStore(path)
    assert path.read_bytes().startswith(b"something")


def test_invalid_database_of_something_else(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE cats (name TEXT)")
    database.close()
    with pytest.raises(StorageError, match="not of a mesh"):
        SqliteStore(path)


def test_invalid_newer_schema(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(StorageError, match="schema 2"):
        SqliteStore(path)


def test_invalid_truncated_database(path: Path) -> None:
    store = SqliteStore(path)
    World(store)
    store.close()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StorageError, match="damaged"):
        SqliteStore(path)


@pytest.mark.parametrize(
    "damage",
    ["UPDATE genesis SET body = '{}'", "UPDATE nodes SET consensus = '['", "DELETE FROM counters"],
)
def test_invalid_rows(path: Path, damage: str) -> None:
    store = SqliteStore(path)
    fill(World(store))
    store.close()
    with sqlite3.connect(path) as database:
        database.execute(damage)
    database.close()
    store = SqliteStore(path)
    with pytest.raises(StorageError, match="damaged"):
        store.load()
    store.close()
