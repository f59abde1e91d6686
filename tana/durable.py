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
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}", remedy="free space or mend the permissions, then start again"
        ) from None


def sync_folder(path: Path) -> None:
    """Make names created, renamed or removed in a folder durable. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
