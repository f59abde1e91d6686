from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.client import keyfiles
from tana.crypto.keys import KeyPair
from tana.types.errors import Conflict, InvalidInput, SettingsError, TanaError

KEY = KeyPair.from_seed(bytes(range(32)))
OTHER = KeyPair.from_seed(bytes(32))


def write_json(path: Path, body: object) -> Path:
    path.write_text(json.dumps(body))
    path.chmod(0o600)
    return path


def test_folder_is_the_environments_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANA_CONFIG_DIR", str(tmp_path))
    assert keyfiles.get_config_dir() == tmp_path
    monkeypatch.delenv("TANA_CONFIG_DIR")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert keyfiles.get_config_dir() == Path("/home/somebody/.config/tana")


def test_names_are_those_of_existing_clients(tmp_path: Path) -> None:
    assert keyfiles.get_node_key_path("validator-2", tmp_path).name == "node-key-validator-2.json"
    assert keyfiles.get_service_key_path("validator-2", "t4", tmp_path).name == "validator-2-t4-key.json"
    assert keyfiles.get_sovereign_key_path(tmp_path).name == "sovereign-key.json"


def test_written_key_is_read_back_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "node-key-v.json"
    keyfiles.write_key(path, KEY, node_id="v")
    assert keyfiles.read_key(path, node_id="v") == KEY
    assert list(json.loads(path.read_text())) == ["nodeId", "publicKey", "privateKey"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["node-key-v.json"]
    assert path.stat().st_nlink == 1


def test_wide_umask_does_not_widen_a_key_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keyfiles.write_key(tmp_path / "a-key.json", KEY)
    finally:
        os.umask(before)
    assert (tmp_path / "a-key.json").stat().st_mode & 0o777 == 0o600


def test_existing_key_is_replaced_by_force_only(tmp_path: Path) -> None:
    path = tmp_path / "a-key.json"
    keyfiles.write_key(path, KEY)
    with pytest.raises(Conflict, match="exists and would be lost") as caught:
        keyfiles.write_key(path, OTHER)
    assert "--force" in caught.value.remedy
    assert keyfiles.read_key(path) == KEY
    keyfiles.write_key(path, OTHER, force=True)
    assert keyfiles.read_key(path) == OTHER
    assert os.listdir(tmp_path) == ["a-key.json"]


def test_of_many_writers_at_once_exactly_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "a-key.json"
    start = threading.Barrier(8)
    won: list[int] = []

    def write(number: int) -> None:
        start.wait()
        try:
            keyfiles.write_key(path, KeyPair.from_seed(bytes([number]) * 32))
        except Conflict:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert keyfiles.read_key(path) == KeyPair.from_seed(bytes([won[0]]) * 32)


def test_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a-key.json"
    keyfiles.write_key(path, KEY)
    assert keyfiles.read_key(path) == KEY
    with pytest.raises(Conflict):
        keyfiles.write_key(path, OTHER)


def test_crash_before_the_move_leaves_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(SettingsError, match="No space left on device"):
        keyfiles.write_key(tmp_path / "a-key.json", KEY)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_exposed_file_is_used_with_a_warning(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a-key.json"
    keyfiles.write_key(path, KEY)
    path.chmod(mode)
    warnings: list[str] = []
    assert keyfiles.read_key(path, warn=warnings.append) == KEY
    assert len(warnings) == 1
    assert f"chmod 600 {path}" in warnings[0]


def test_a_name_finds_its_file(tmp_path: Path) -> None:
    assert keyfiles.find_key_path("alice", tmp_path) == tmp_path / "alice-key.json"
    keyfiles.write_key(keyfiles.get_node_key_path("v", tmp_path), KEY, node_id="v")
    assert keyfiles.find_key_path("v", tmp_path) == tmp_path / "node-key-v.json"
    assert keyfiles.find_key_path("./here.json", tmp_path) == Path("here.json")


def test_public_key_needs_no_private_one(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"publicKey": KEY.public_text})
    assert keyfiles.read_public_key(path) == KEY.public_key


PUBLIC, PRIVATE = KEY.public_text, KEY.private_text
BAD_BODIES: dict[str, tuple[object, str]] = {
    "list": ([], "must hold a JSON object"),
    "missing_public": ({"privateKey": PRIVATE}, "publicKey is missing"),
    "missing_private": ({"publicKey": PUBLIC}, "privateKey is missing"),
    "number": ({"publicKey": PUBLIC, "privateKey": 7}, "privateKey must be a string"),
    "short": ({"publicKey": PUBLIC, "privateKey": PRIVATE[:-1]}, "privateKey is malformed"),
    "not_hex": ({"publicKey": "ed25519_" + "z" * 64, "privateKey": PRIVATE}, "publicKey is malformed"),
    "of_another": ({"publicKey": OTHER.public_text, "privateKey": PRIVATE}, "not the public key of privateKey"),
    "node": ({"nodeId": "w", "publicKey": PUBLIC, "privateKey": PRIVATE}, "nodeId is 'w', not 'v'"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_invalid_key_file(tmp_path: Path, name: str) -> None:
    body, words = BAD_BODIES[name]
    path = write_json(tmp_path / "a-key.json", body)
    with pytest.raises(SettingsError, match=words) as caught:
        keyfiles.read_key(path, node_id="v")
    assert_helpful_and_silent(caught.value, path)


@pytest.mark.parametrize("data", [b"", b"{", b'{"publicKey": "\xff"}', b"[" * 50_000, b" " * 70_000, b"NaN"])
def test_invalid_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a-key.json"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as caught:
        keyfiles.read_key(path)
    assert_helpful_and_silent(caught.value, path)


@given(st.text(alphabet='"{}:, \n' + PRIVATE, max_size=200) | st.just(json.dumps({"privateKey": PRIVATE})))
def test_invalid_key_file_never_prints_what_it_holds(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("keys") / "a-key.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as caught:
        keyfiles.read_key(path)
    assert_helpful_and_silent(caught.value, path)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "-a", "a-", "a" * 64, "a\n", "é"])
def test_invalid_name_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    makers: list[Callable[[str], Path]] = [
        lambda text: keyfiles.get_node_key_path(text, tmp_path),
        lambda text: keyfiles.get_service_key_path(text, "t4", tmp_path),
        lambda text: keyfiles.get_service_key_path("v", text, tmp_path),
        lambda text: keyfiles.get_named_key_path(text, tmp_path),
    ]
    for make in makers:
        with pytest.raises(InvalidInput, match="is malformed"):
            make(name)


@pytest.mark.parametrize(
    ("name", "command"),
    [("sovereign-key.json", "tana keys new sovereign"), ("node-key-v.json", "tana mesh register --node-id v")],
)
def test_missing_file_says_how_to_make_it(tmp_path: Path, name: str, command: str) -> None:
    with pytest.raises(SettingsError, match="there is no such file") as caught:
        keyfiles.read_key(tmp_path / name)
    assert command in caught.value.remedy


def test_unreadable_and_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Is a directory"):
        keyfiles.read_key(tmp_path, warn=lambda _text: None)
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(SettingsError, match="cannot be written") as caught:
        keyfiles.write_key(blocker / "a-key.json", KEY)
    assert "TANA_CONFIG_DIR" in caught.value.remedy


def assert_helpful_and_silent(error: TanaError, path: Path) -> None:
    """It names the file, says what to do, and holds no private key."""
    assert str(path) in error.message
    assert error.remedy
    assert KEY.seed.hex() not in str(error)
    assert KEY.seed.hex()[:-1] not in str(error)
