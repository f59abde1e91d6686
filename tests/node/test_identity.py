"""Keys and sign-state come into being together, and never apart."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tana.client.keyfiles import get_node_key_path, write_key
from tana.crypto.keys import KeyPair
from tana.node import identity as identity_module
from tana.node.blocks import MemoryBlocks
from tana.node.folder import DataFolder
from tana.node.identity import open_sign_state, prepare_node
from tana.node.log import SignLog
from tana.types.errors import SettingsError
from tests.node.chain import VALIDATOR, Chain, make_vote

CHAIN_ID = b"c" * 32


class Crash(Exception):
    """The process dies here."""


def _prepare(root: Path) -> identity_module.NodeIdentity:
    return prepare_node(root / "data", "validator-1", root / "config")


def _open(root: Path, key: KeyPair) -> identity_module.SignState:
    state = open_sign_state(DataFolder(root / "data"), key, CHAIN_ID, MemoryBlocks())
    if state.log is not None:
        state.log.close()
    return state


def test_new_node_gets_key_and_sign_state(tmp_path: Path) -> None:
    identity = _prepare(tmp_path)
    assert set(identity.service_keys) == {"ledger", "t4", "consensus"}
    assert _open(tmp_path, identity.key).log is not None


def test_prepared_node_is_the_same_again(tmp_path: Path) -> None:
    assert _prepare(tmp_path) == _prepare(tmp_path)


def test_missing_sign_state_abstains(tmp_path: Path) -> None:
    identity = _prepare(tmp_path)
    shutil.rmtree(tmp_path / "data" / "sign-state")
    again = _prepare(tmp_path)
    state = _open(tmp_path, again.key)
    assert again.key == identity.key
    assert state.log is None
    assert "sign-state" in state.abstain_reason
    assert "restore" in state.abstain_reason
    assert not (tmp_path / "data" / "sign-state").exists()


def test_key_from_elsewhere_abstains(tmp_path: Path) -> None:
    write_key(get_node_key_path("validator-1", tmp_path / "config"), KeyPair.generate(), node_id="validator-1")
    assert _open(tmp_path, _prepare(tmp_path).key).log is None


@pytest.mark.parametrize("step", ["write_key", "_finish_making"])
def test_crash_while_making_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def crash(*_: object, **__: object) -> None:
        raise Crash

    monkeypatch.setattr(identity_module, step, crash)
    with pytest.raises(Crash):
        _prepare(tmp_path)
    monkeypatch.undo()
    assert _open(tmp_path, _prepare(tmp_path).key).log is not None


def test_invalid_sign_state_of_another_chain(tmp_path: Path) -> None:
    identity = _prepare(tmp_path)
    assert _open(tmp_path, identity.key).log is not None
    state = open_sign_state(DataFolder(tmp_path / "data"), identity.key, b"d" * 32, MemoryBlocks())
    assert state.log is None
    assert f"is of chain {CHAIN_ID.hex()}" in state.abstain_reason
    assert "--data" in state.abstain_reason


def _make_blocks(chain: Chain, count: int) -> MemoryBlocks:
    blocks = MemoryBlocks()
    for _ in range(count):
        blocks.append(*chain.grow())
    return blocks


def test_sign_state_that_knows_of_its_precommits_is_good(tmp_path: Path) -> None:
    chain = Chain()
    data = DataFolder(tmp_path)
    SignLog.create(data.sign_state_path, VALIDATOR.public_key)
    log, _, _ = SignLog.open(data.sign_state_path, VALIDATOR.public_key)
    log.bind(chain.signed.chain_id)
    for height in (1, 2):
        log.append(make_vote(height))
    log.close()
    state = open_sign_state(data, VALIDATOR, chain.signed.chain_id, _make_blocks(chain, 2))
    assert state.log is not None
    state.log.close()


@pytest.mark.parametrize("known", [0, 1])
def test_invalid_old_copy_of_the_sign_state(tmp_path: Path, known: int) -> None:
    """A backup, or a log whose flushed end was cut off: the blocks show a precommit that it does not know of."""
    chain = Chain()
    data = DataFolder(tmp_path)
    SignLog.create(data.sign_state_path, VALIDATOR.public_key)
    log, _, _ = SignLog.open(data.sign_state_path, VALIDATOR.public_key)
    log.bind(chain.signed.chain_id)
    for height in range(1, known + 1):
        log.append(make_vote(height))
    log.close()
    state = open_sign_state(data, VALIDATOR, chain.signed.chain_id, _make_blocks(chain, 2))
    assert state.log is None
    assert "precommit for block 2" in state.abstain_reason
    assert "tana validator recover" in state.abstain_reason


def test_invalid_sign_state_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = _prepare(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tana.node.log.cut_tail", refuse)
    reason = _open(tmp_path, identity.key).abstain_reason
    assert str(tmp_path / "data" / "sign-state") in reason
    assert "writable" in reason


@pytest.mark.parametrize("leftover", ["sign-state", "chain.db"])
def test_invalid_missing_key(tmp_path: Path, leftover: str) -> None:
    _prepare(tmp_path)
    data = tmp_path / "data"
    if leftover == "chain.db":
        shutil.rmtree(data / "sign-state")
        (data / "chain.db").touch()
    path = get_node_key_path("validator-1", tmp_path / "config")
    path.unlink()
    with pytest.raises(SettingsError) as caught:
        _prepare(tmp_path)
    assert str(path) in caught.value.message
    assert caught.value.remedy
    assert not path.exists()


def test_invalid_sign_state_of_another_key(tmp_path: Path) -> None:
    identity = _prepare(tmp_path)
    shutil.rmtree(tmp_path / "data" / "sign-state")
    SignLog.create(tmp_path / "data" / "sign-state", KeyPair.generate().public_key)
    assert "belongs to another key" in _open(tmp_path, identity.key).abstain_reason


def test_invalid_data_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(SettingsError, match="data folder") as caught:
        _prepare(tmp_path)
    assert "--data" in caught.value.remedy


def test_invalid_second_validator_on_the_folder(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.open()
    with pytest.raises(SettingsError, match="another validator is running"):
        second.open()
    first.close()
    second.open()
    second.close()
