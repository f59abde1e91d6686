"""Durable files: whole or as before, the directory flushed last, and a clear word where it cannot be done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tana.durable import make_folder, write_atomically
from tana.types.errors import StorageError


def test_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"first", b"second"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_order_is_write_flush_rename_flush_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        steps.append("flush directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "flush")
        sync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_atomically(tmp_path / "file", b"data")
    assert steps == ["flush", "rename", "flush directory"]


def test_folder_is_made_with_those_above_it_and_each_name_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    sync = os.fsync

    def note_sync(descriptor: int) -> None:
        flushed.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note_sync)
    make_folder(tmp_path / "one" / "two" / "three", 0o700)
    assert flushed == [tmp_path.name, "one", "two"]
    assert (tmp_path / "one" / "two" / "three").stat().st_mode & 0o777 == 0o700
    make_folder(tmp_path / "one")
    assert len(flushed) == 3


def test_invalid_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            make_folder(path)


def test_invalid_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
