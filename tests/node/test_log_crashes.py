"""The log and the files beside it, with the machine stopped at every single operation of the disk.

After each stop, in every state that the disk may then be in: what was acknowledged is there, nothing else is, the sign
floor covers every signature that left, and the log goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tana.client.keyfiles import get_node_key_path
from tana.durable import write_atomically
from tana.node.blocks import MemoryBlocks
from tana.node.effects import LogRecord
from tana.node.folder import DataFolder
from tana.node.identity import open_sign_state, prepare_node
from tana.node.log import SignLog, recover_log
from tana.node.segment import Recovery, get_signed_position
from tana.types.errors import StorageError
from tana.types.messages import PREVOTE
from tests.node.chain import VALIDATOR, make_part, make_vote
from tests.node.crash_disk import Crash, CrashDisk

KEY = VALIDATOR.public_key
CHAIN_ID = b"c" * 32
HEIGHTS = 4
SEGMENT_BYTES = 500
"""Small: nearly every height ends a segment, so that appending, rotating and pruning all happen."""


@dataclass
class Life:
    """What a node did with its log: `acknowledged` is durable, so its messages may have left."""

    appended: list[LogRecord] = field(default_factory=list)
    acknowledged: list[LogRecord] = field(default_factory=list)
    pruned_below: int = 0


def _live(path: Path, life: Life) -> None:
    log, _, _ = SignLog.open(path, KEY, segment_bytes=SEGMENT_BYTES)
    try:
        log.bind(CHAIN_ID)
        for height in range(1, HEIGHTS + 1):
            flushes: list[list[LogRecord]] = [
                [make_part(height, 150), make_vote(height, kind=PREVOTE)],
                [make_vote(height)],
            ]
            for records in flushes:
                for record in records:
                    log.append(record)
                life.appended += records
                log.flush()
                life.acknowledged += records
            life.pruned_below = height + 1
            log.prune(height + 1)
    finally:
        # As a process that ends: nothing more is written.
        os.close(log._file)


def _check(path: Path, life: Life) -> None:
    log, records, floor = SignLog.open(path, KEY, segment_bytes=SEGMENT_BYTES)
    assert floor >= max(map(get_signed_position, life.acknowledged), default=(0, 0, 0))
    kept = [record for record in life.acknowledged if record.message.height >= life.pruned_below]
    start = life.appended.index(records[0]) if records else len(life.appended)
    assert records == life.appended[start : start + len(records)], "what is there is there in order, without a gap"
    assert all(record in records for record in kept)
    log.bind(CHAIN_ID)
    log.append(make_vote(99))
    log.flush()
    log.prune(99)
    log.close()
    again, records, floor = SignLog.open(path, KEY)
    again.close()
    assert make_vote(99) in records
    assert floor == get_signed_position(make_vote(99))


def _count_operations(root: Path, work: Callable[[], object]) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        disk = CrashDisk(root, patch)
        work()
    return disk.operations


def _make_log(root: Path) -> Path:
    path = root / "sign-state"
    SignLog.create(path, KEY)
    return path


def _crash_everywhere(root: Path, spoil: Callable[[pytest.MonkeyPatch], None] = lambda _: None) -> list[str]:
    """The operations of a life, each of which it was stopped at. `spoil` plants a bug."""
    path = _make_log(root / "counted")
    operations = _count_operations(root / "counted", lambda: _live(path, Life()))
    for stop_at in range(len(operations)):
        path = _make_log(root / f"stop-{stop_at}")
        life = Life()
        with pytest.MonkeyPatch.context() as patch:
            disk = CrashDisk(path.parent, patch, stop_at)
            spoil(patch)
            with contextlib.suppress(Crash):
                _live(path, life)
        _check_images(disk, root / f"images-{stop_at}", life)
    return operations


def _check_images(disk: CrashDisk, folder: Path, life: Life) -> None:
    checked: list[dict[str, bytes]] = []
    for label, image in disk.images():
        if image not in checked:
            checked.append(image)
            disk.write_image(image, folder / label)
            _check(folder / label / "sign-state", life)


def test_crash_at_every_operation_of_the_log(tmp_path: Path) -> None:
    operations = _crash_everywhere(tmp_path)
    assert {"create", "write", "flush", "flush data", "replace", "unlink"} <= set(operations)


def test_vote_that_is_not_flushed_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        _crash_everywhere(tmp_path, lambda patch: patch.setattr(os, "fdatasync", lambda _: None))


def test_rename_without_flushed_folder_is_caught(tmp_path: Path) -> None:
    """cometbft#6031."""
    with pytest.raises(StorageError, match="older than the segment"):
        _crash_everywhere(tmp_path, lambda patch: patch.setattr("tana.durable.sync_folder", lambda _: None))


def test_failure_of_every_operation_of_the_log(tmp_path: Path) -> None:
    """A full or broken disk at each call: an error that names a file and a remedy, and nothing acknowledged is lost."""
    path = _make_log(tmp_path / "counted")
    count = len(_count_operations(tmp_path / "counted", lambda: _live(path, Life())))
    for stop_at in range(count):
        root = tmp_path / f"stop-{stop_at}"
        path = _make_log(root)
        life = Life()
        with pytest.MonkeyPatch.context() as patch:
            disk = CrashDisk(root, patch, stop_at, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            with pytest.raises(StorageError, match="No space left") as caught:
                _live(path, life)
        assert str(path) in caught.value.message
        assert caught.value.remedy
        _check_images(disk, tmp_path / f"images-{stop_at}", life)


def test_crash_at_every_operation_of_an_atomic_write(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        write_atomically(root / "file", b"new, and longer than the old")

    def make_root(name: str) -> Path:
        root = tmp_path / name
        root.mkdir()
        (root / "file").write_bytes(b"old")
        return root

    root = make_root("counted")
    operations = _count_operations(root, lambda: work(root))
    assert operations == ["create", "write", "flush", "replace", "flush"]
    for stop_at in range(len(operations)):
        root = make_root(f"stop-{stop_at}")
        with pytest.MonkeyPatch.context() as patch:
            disk = CrashDisk(root, patch, stop_at)
            with pytest.raises(Crash):
                work(root)
        found = {image[str(root / "file")] for _label, image in disk.images()}
        assert found <= {b"old", b"new, and longer than the old"}


def test_crash_at_every_operation_of_making_a_node(tmp_path: Path) -> None:
    """Key and sign-state come into being together: a node that was ever prepared can sign, whatever happened before."""

    def prepare(root: Path) -> None:
        identity = prepare_node(root / "data", "validator-1", root / "config")
        state = open_sign_state(DataFolder(root / "data"), identity.key, CHAIN_ID, MemoryBlocks())
        assert state.log is not None, state.abstain_reason
        state.log.close()

    root = tmp_path / "counted"
    root.mkdir()
    count = len(_count_operations(root, lambda: prepare(root)))
    for stop_at in range(count):
        root = tmp_path / f"stop-{stop_at}"
        root.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            CrashDisk(root, patch, stop_at)
            with pytest.raises(Crash):
                prepare(root)
        path = get_node_key_path("validator-1", root / "config")
        had_key = path.read_bytes() if path.exists() else None
        prepare(root)
        assert had_key in (None, path.read_bytes()), "a key that was made is kept"


def test_crash_at_every_operation_of_a_recovery(tmp_path: Path) -> None:
    """Either the damaged state is still there, to recover from once more, or all of the new one is."""
    recovery = Recovery(8, 2, 1, "damaged")

    def damage(root: Path) -> Path:
        path = _make_log(root)
        log, _, _ = SignLog.open(path, KEY)
        log.append(make_vote(7))
        log.close()
        (path / "segments").unlink()
        return path

    def recover(path: Path) -> None:
        recover_log(path, KEY, (8, 2, 2), chain_id=CHAIN_ID, recoveries=(recovery,), records=(make_vote(8),))

    path = damage(tmp_path / "counted")
    count = len(_count_operations(tmp_path / "counted", lambda: recover(path)))
    outcomes = set()
    for stop_at in range(count):
        root = tmp_path / f"stop-{stop_at}"
        path = damage(root)
        with pytest.MonkeyPatch.context() as patch:
            disk = CrashDisk(root, patch, stop_at)
            with pytest.raises(Crash):
                recover(path)
        for number, (_label, image) in enumerate(disk.images()):
            folder = tmp_path / f"image-{stop_at}-{number}" / "sign-state"
            disk.write_image(image, folder.parent)
            is_done = (folder / "segments").exists()
            outcomes.add(is_done)
            if not is_done:
                with pytest.raises(StorageError, match="is missing"):
                    SignLog.open(folder, KEY)
                recover(folder)
            log, records, floor = SignLog.open(folder, KEY)
            log.close()
            assert (records, floor, log.recoveries, log.chain_id) == ([make_vote(8)], (8, 2, 2), (recovery,), CHAIN_ID)
    assert outcomes == {False, True}
