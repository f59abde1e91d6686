"""Files that survive a crash whole: write, flush, rename, flush the directory, in that order."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tana.types.errors import StorageError


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that it holds either the old bytes or the new, durably, whatever happens.

    Two writers at once do not mix: the later one wins. Raises `StorageError` naming the file.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            write_new_file(temporary, data, mode=0o666)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", remedy="free space or mend the permissions, then start again"
        ) from None


def write_new_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make a file whose bytes are durable; its name is so after `sync_folder`. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; a full disk can take some and refuse the rest. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it where they are missing, durably; `mode` is its own. Raises `OSError`."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names created, renamed or removed in a folder durable. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
