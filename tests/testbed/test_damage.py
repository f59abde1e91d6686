"""Damage to a data folder: what the log makes of it when the validator starts again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tana.crypto.keys import KeyPair
from tana.node.effects import Signed
from tana.node.folder import DataFolder
from tana.node.log import SignLog
from tana.types.errors import SettingsError, StorageError
from tana.types.messages import PRECOMMIT, PREVOTE, Vote
from testbed.damage import GARBLE, TEAR, WIPE_CHAIN, WIPE_SIGN_STATE, Harm, damage

KEY = KeyPair.from_seed(b"k" * 32)
HEIGHTS = 20


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    """The folder of a validator that has voted at some heights."""
    data = DataFolder(tmp_path / "data")
    SignLog.create(data.sign_state_path, KEY.public_key)
    log, _, _ = SignLog.open(data.sign_state_path, KEY.public_key)
    log.bind(b"c" * 32)
    for height in range(1, HEIGHTS + 1):
        for kind in (PREVOTE, PRECOMMIT):
            log.append(Signed(Vote(kind, height, 0, b"b" * 32, KEY.public_key, b"s" * 64)))
            log.flush()
    log.close()
    data.chain_path.write_bytes(b"blocks")
    data.content_path.mkdir()
    (data.content_path / "content").write_bytes(b"content")
    return data


@pytest.mark.parametrize("seed", range(60))
def test_a_torn_write_is_cut_off_and_nothing_else(data: DataFolder, seed: int) -> None:
    harm = damage(data.root, TEAR, str(seed))
    log, records, floor = SignLog.open(data.sign_state_path, KEY.public_key)
    log.close()
    assert log.torn_bytes == harm.size_bytes > 0
    assert len(records) == 2 * HEIGHTS
    assert floor == (HEIGHTS, 0, PRECOMMIT)


def test_torn_writes_are_cut_short_or_end_in_zeros(data: DataFolder) -> None:
    path = next(data.sign_state_path.glob("*.log"))
    whole = path.read_bytes()
    ends = set()
    for seed in range(40):
        harm = damage(data.root, TEAR, str(seed))
        ends.add((harm.size_bytes, path.read_bytes().endswith(b"\0" * 16)))
        path.write_bytes(whole)
    assert len({size for size, _ in ends}) > 10
    assert {is_zeroed for _, is_zeroed in ends} == {False, True}


@pytest.mark.parametrize("seed", range(60))
def test_a_garbled_log_is_refused_by_name(data: DataFolder, seed: int) -> None:
    harm = damage(data.root, GARBLE, str(seed))
    with pytest.raises(StorageError, match=r"is damaged at byte \d+.*tana validator recover") as caught:
        SignLog.open(data.sign_state_path, KEY.public_key)
    assert harm.file in str(caught.value)


def test_a_wiped_sign_state_is_missing(data: DataFolder) -> None:
    assert damage(data.root, WIPE_SIGN_STATE, "").size_bytes > 0
    with pytest.raises(StorageError, match="is missing"):
        SignLog.open(data.sign_state_path, KEY.public_key)
    assert data.chain_path.exists()


def test_a_wiped_chain_leaves_the_sign_state(data: DataFolder) -> None:
    damage(data.root, WIPE_CHAIN, "")
    assert list(data.root.iterdir()) == [data.sign_state_path]
    log, records, _ = SignLog.open(data.sign_state_path, KEY.public_key)
    log.close()
    assert len(records) == 2 * HEIGHTS


def test_the_seed_decides_where(data: DataFolder) -> None:
    path = next(data.sign_state_path.glob("*.log"))
    whole = path.read_bytes()
    harms = []
    for seed in ("1", "1", "2"):
        harms.append(damage(data.root, GARBLE, seed))
        path.write_bytes(whole)
    assert harms[0] == harms[1] != harms[2]


def test_from_the_command_line(data: DataFolder) -> None:
    command = [sys.executable, "-m", "testbed.damage"]
    done = subprocess.run([*command, str(data.root), TEAR, "1"], capture_output=True, text=True, check=True)
    assert msgspec.json.decode(done.stdout, type=Harm).size_bytes > 0
    done = subprocess.run([*command, str(data.root), "melt", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no damage 'melt'" in done.stderr
    done = subprocess.run([*command, str(data.root)], capture_output=True, text=True, check=False)
    assert "usage: " in done.stderr


def test_invalid_damage(data: DataFolder) -> None:
    with pytest.raises(SettingsError, match="there is no damage 'melt'") as caught:
        damage(data.root, "melt", "")
    assert "use one of wipe_sign_state" in caught.value.remedy


def test_invalid_nothing_to_damage(tmp_path: Path) -> None:
    for how in (GARBLE, TEAR):
        with pytest.raises(StorageError, match="has no segment"):
            damage(tmp_path, how, "")
    for how in (WIPE_CHAIN, WIPE_SIGN_STATE):
        with pytest.raises(StorageError, match="cannot be damaged: No such file"):
            damage(tmp_path, how, "")
