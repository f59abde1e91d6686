"""The peer book: what the mesh says, kept for when it is silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tana.client.mesh import MeshNode, MeshService
from tana.node.peers import PeerBook
from tana.types.errors import StorageError
from tests.node.cluster import make_key
from tests.node.full_disk import limit_file_size


def _make_node(name: str, port: int = 9000, ip: str | None = "100.64.0.1", kind: str = "consensus") -> MeshNode:
    return MeshNode(
        name,
        make_key(name).public_text,
        f"{name}.tailnet",
        "active",
        tailscale_ip=ip,
        services=(MeshService(kind, port, make_key(f"{name} service").public_text),),
    )


def test_book_survives_a_restart(tmp_path: Path) -> None:
    book = PeerBook(tmp_path / "peers.json")
    assert book.update([_make_node("one"), _make_node("two", ip=None)], frozenset())
    assert not book.update([_make_node("one"), _make_node("two", ip=None)], frozenset())
    again = PeerBook(tmp_path / "peers.json")
    assert again.entries == book.entries
    one, two = again.get(make_key("one").public_key), again.get(make_key("two").public_key)
    assert one is not None
    assert two is not None
    assert (one.host, one.port, two.host) == ("100.64.0.1", 9000, "two.tailnet")


def test_removed_node_leaves_the_book_but_a_validator_stays(tmp_path: Path) -> None:
    book = PeerBook(tmp_path / "peers.json")
    book.update([_make_node("one"), _make_node("two")], frozenset())
    assert book.update([], {make_key("one").public_key})
    assert make_key("one").public_key in book
    assert make_key("two").public_key not in book


def test_invalid_disk_lets_nobody_in_and_is_tried_again(tmp_path: Path) -> None:
    book = PeerBook(tmp_path / "peers.json")
    book.update([_make_node("one")], frozenset())
    with limit_file_size(0), pytest.raises(StorageError, match=r"peers\.json"):
        book.update([], frozenset())
    assert make_key("one").public_key not in book
    assert PeerBook(tmp_path / "peers.json").entries
    assert book.update([], frozenset())
    assert not PeerBook(tmp_path / "peers.json").entries


def test_changed_address_is_taken_over(tmp_path: Path) -> None:
    book = PeerBook(tmp_path / "peers.json")
    book.update([_make_node("one")], frozenset())
    assert book.update([_make_node("one", port=9500)], {make_key("one").public_key})
    entry = book.get(make_key("one").public_key)
    assert entry is not None
    assert entry.port == 9500


def test_invalid_rows_are_passed_over(tmp_path: Path) -> None:
    book = PeerBook(tmp_path / "peers.json")
    broken = MeshNode("x", "not a key", "host", "active", services=(MeshService("consensus", 1, ""),))
    assert not book.update(
        [broken, _make_node("ledger-only", kind="ledger"), _make_node("port", port=70000)], frozenset()
    )


def test_invalid_file(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_text("{")
    with pytest.raises(StorageError) as caught:
        PeerBook(path)
    assert str(path) in caught.value.message
    assert caught.value.remedy
