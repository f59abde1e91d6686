"""Files by the SHA-256 of their content, durable once stored.

Layout: `{root}/{first 2 hex}/{64 hex}`, and `{root}/.incoming/` for what is still arriving. A file gets its name only
when its bytes have that hash and are on disk:

    write to .incoming → fsync the file → rename → fsync the folder → answer

so that a name never stands for other or half of its bytes, whatever dies in between. What a crash leaves in
`.incoming` is removed at the next start (one process owns a root at a time). Two uploads of one hash each write
their own temporary file; the later rename replaces equal bytes by equal bytes, which also heals a damaged file.
Reading checks the hash first: damaged content is an error, never an answer.

Every call blocks on the disk; an event loop calls them in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from tana.durable import sync_folder
from tana.types.errors import InvalidInput, NotFound, StorageError, TooLarge, Unavailable

MAX_CONTENT_BYTES = 32 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
_INCOMING = ".incoming"
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class ContentStore:
    """The content under one root folder."""

    def __init__(self, root: Path, max_bytes: int = MAX_CONTENT_BYTES) -> None:
        """Open the store, make its folders where they are missing, and remove what a crash left half-written.

        Raises `StorageError` where the folder cannot be written.
        """
        self.root = root
        self.max_bytes = max_bytes
        self._incoming = root / _INCOMING
        # Folders whose own names are known to be on disk.
        self._durable_folders: set[Path] = set()
        with _storage_errors(root, "opened"):
            self._incoming.mkdir(parents=True, exist_ok=True)
            for stale in self._incoming.iterdir():
                stale.unlink()
            sync_folder(root.parent)

    def begin(self, content_hash: str) -> Upload:
        """Start to store the content of that hash. Raises `InvalidInput` for a malformed hash."""
        check_hash(content_hash)
        with _storage_errors(self._incoming, "written"):
            descriptor, temporary = tempfile.mkstemp(dir=self._incoming)
        return Upload(self, content_hash, os.fdopen(descriptor, "wb"), Path(temporary))

    def open(self, content_hash: str) -> tuple[BinaryIO, int]:
        """The content, read through once and found intact, as an open file at its start, and its size in bytes.

        Raises `NotFound`, and `StorageError` for content that no longer has its hash.
        """
        path = self.get_path(content_hash)
        with _storage_errors(path, "read"):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                raise _not_found(content_hash) from None
            try:
                if hashlib.file_digest(file, "sha256").hexdigest() != content_hash:
                    raise StorageError(
                        f"the file {path} no longer has the hash in its name",
                        remedy="store the content again, which replaces the file, and check the disk",
                        code="content_damaged",
                    )
                size_bytes = file.tell()
                file.seek(0)
            except BaseException:
                file.close()
                raise
        return file, size_bytes

    def get_size(self, content_hash: str) -> int:
        """Size in bytes of stored content. Raises `NotFound`."""
        path = self.get_path(content_hash)
        with _storage_errors(path, "read"):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                raise _not_found(content_hash) from None

    def delete(self, content_hash: str) -> None:
        """Remove content for good; whoever is reading it reads on to its end. Raises `NotFound`."""
        path = self.get_path(content_hash)
        with _storage_errors(path, "removed"):
            try:
                path.unlink()
            except FileNotFoundError:
                raise _not_found(content_hash) from None
            sync_folder(path.parent)

    def get_path(self, content_hash: str) -> Path:
        """Where content of that hash lies or would lie. Raises `InvalidInput` for a malformed hash."""
        check_hash(content_hash)
        return self.root / content_hash[:2] / content_hash

    def install(self, temporary: Path, content_hash: str) -> None:
        """Give a complete, flushed temporary file its name, durably."""
        path = self.get_path(content_hash)
        if path.parent not in self._durable_folders:
            path.parent.mkdir(exist_ok=True)
            sync_folder(self.root)
            self._durable_folders.add(path.parent)
        os.replace(temporary, path)
        sync_folder(path.parent)


class Upload:
    """Content on its way in: `write` its pieces, then `commit`. Leaving the `with` block otherwise forgets it.

    Holds one piece in memory at a time.
    """

    def __init__(self, store: ContentStore, content_hash: str, file: BinaryIO, temporary: Path) -> None:
        self._store = store
        self._content_hash = content_hash
        self._file = file
        self._temporary = temporary
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing writes out what is buffered, which can fail on a full disk; the file is unwanted by then.
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Add a piece. Raises `TooLarge` over the store's bound, `Unavailable` where the disk is full."""
        self.size_bytes += len(data)
        check_size(self.size_bytes, self._store.max_bytes)
        self._digest.update(data)
        with _storage_errors(self._store.root, "written"):
            self._file.write(data)

    def commit(self) -> None:
        """Store what was written. Once this returns, the content survives a crash.

        Raises `InvalidInput` where it has another hash, `Unavailable` where the disk is full.
        """
        actual = self._digest.hexdigest()
        if actual != self._content_hash:
            raise InvalidInput(
                f"the content has the hash {actual}, not the one in the path", code="hash_mismatch", field="hash"
            )
        with _storage_errors(self._store.root, "written"):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._store.install(self._temporary, self._content_hash)


def check_hash(content_hash: str) -> None:
    """Raise `InvalidInput` for anything but 64 lower-case hexadecimal characters: nothing else becomes a path."""
    if _HASH.fullmatch(content_hash) is None:
        raise InvalidInput("the hash must be 64 lower-case hexadecimal characters", code="malformed_hash", field="hash")


def check_size(size_bytes: int, max_bytes: int) -> None:
    """Raise `TooLarge` for content over the bound."""
    if size_bytes > max_bytes:
        raise TooLarge(
            f"the content has more than the {max_bytes} bytes that are allowed",
            remedy="store it in smaller pieces",
            code="content_too_large",
        )


def _not_found(content_hash: str) -> NotFound:
    return NotFound(f"there is no content {content_hash}", field="hash")


@contextlib.contextmanager
def _storage_errors(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable(
                "the disk of the content store is full",
                remedy=f"free some space under {path} and send the content again",
                code="disk_full",
            ) from None
        raise StorageError(
            f"{path} cannot be {action}: {error.strerror}", remedy="check the folder's owner, permissions and disk"
        ) from None
