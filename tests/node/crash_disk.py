"""A disk that stops at any one of its operations, and what it may hold afterwards.

Calls go through to the real file system and are remembered. A kill of the process leaves what the calls did. A power
cut may leave less: of a file, only what was flushed is certain; of a name, only what the flush of its folder made
certain; either can be ahead of the other.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


class Crash(BaseException):
    """The machine stops here: no `except Exception` may survive it."""


_CALLS = ("open", "close", "write", "fsync", "fdatasync", "ftruncate", "replace", "rename", "unlink", "mkdir")


@dataclass
class _File:
    written: bytes = b""
    durable: bytes = b""


class CrashDisk:
    """Watches everything below `root` and fails at operation number `stop_at` (from 0) with `error`.

    `Crash` ends everything after it as well; an `OSError` is one failed call, after which the disk works again.
    """

    def __init__(
        self, root: Path, patch: pytest.MonkeyPatch, stop_at: int | None = None, error: BaseException | None = None
    ) -> None:
        self.operations: list[str] = []
        self._root = str(root)
        self._stop_at = stop_at
        self._error = error or Crash()
        self._has_crashed = False
        self._half = b""
        self._half_of: _File | None = None
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._paths: dict[int, str] = {}
        self._real: dict[str, Callable[..., Any]] = {}
        for path in sorted(root.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                self._names[str(path)] = self._durable_names[str(path)] = _File(data, data)
        for name in (
            "open",
            "close",
            "write",
            "fsync",
            "fdatasync",
            "ftruncate",
            "replace",
            "rename",
            "unlink",
            "mkdir",
        ):
            self._real[name] = getattr(os, name)
            patch.setattr(os, name, getattr(self, f"_{name}"))

    def images(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Every state that the disk may be found in after the crash: a label, and bytes by path below the root."""
        for names_are_certain, content_is_certain in itertools.product((False, True), repeat=2):
            names = self._durable_names if names_are_certain else self._names
            label = (
                f"{'durable' if names_are_certain else 'all'} names, {'durable' if content_is_certain else 'all'} bytes"
            )
            yield label, {path: file.durable if content_is_certain else file.written for path, file in names.items()}
        if self._half_of is not None:
            half = self._half_of
            torn = {path: file.written + (self._half if file is half else b"") for path, file in self._names.items()}
            yield "a torn write", torn
            grown = len(half.durable)
            zeroed = half.written[:grown] + bytes(len(half.written) - grown + len(self._half))
            yield (
                "a write that left zeros",
                {path: zeroed if file is half else file.written for path, file in self._names.items()},
            )

    def write_image(self, image: dict[str, bytes], folder: Path) -> None:
        """Make a folder that holds an image."""
        for path, data in image.items():
            target = folder / os.path.relpath(path, self._root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def _note(self, what: str, path: str, file: _File | None = None, data: bytes = b"") -> None:
        if self._has_crashed:
            raise Crash
        if not path.startswith(self._root):
            return
        if len(self.operations) == self._stop_at:
            self.operations.append(what)
            self._has_crashed = isinstance(self._error, Crash)
            self._half_of, self._half = file, data[: len(data) // 2]
            raise self._error
        self.operations.append(what)

    def _open(self, path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        name = os.fspath(path)
        if flags & os.O_CREAT and name not in self._names:
            self._note("create", name)
        descriptor: int = self._real["open"](path, flags, mode, **options)
        if isinstance(name, str) and name.startswith(self._root):
            self._paths[descriptor] = name
            if not flags & os.O_DIRECTORY:
                self._names.setdefault(name, _File())
        return descriptor

    def _close(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        self._real["close"](descriptor)

    def _write(self, descriptor: int, data: Any) -> int:
        path = self._paths.get(descriptor)
        if path is None:
            count: int = self._real["write"](descriptor, data)
            return count
        file = self._names[path]
        self._note("write", path, file, bytes(data))
        count = self._real["write"](descriptor, data)
        file.written += bytes(data[:count])
        return count

    def _fsync(self, descriptor: int) -> None:
        path = self._paths.get(descriptor, "")
        self._note("flush", path)
        self._real["fsync"](descriptor)
        if path in self._names:
            self._names[path].durable = self._names[path].written
        else:
            self._sync_names(path)

    def _fdatasync(self, descriptor: int) -> None:
        path = self._paths.get(descriptor, "")
        self._note("flush data", path)
        self._real["fdatasync"](descriptor)
        if path in self._names:
            self._names[path].durable = self._names[path].written

    def _ftruncate(self, descriptor: int, length: int) -> None:
        path = self._paths.get(descriptor, "")
        self._note("truncate", path)
        self._real["ftruncate"](descriptor, length)
        if path in self._names:
            self._names[path].written = self._names[path].written[:length]

    def _replace(self, source: Any, target: Any, **options: Any) -> None:
        self._move("replace", os.fspath(source), os.fspath(target), options)

    def _rename(self, source: Any, target: Any, **options: Any) -> None:
        self._move("rename", os.fspath(source), os.fspath(target), options)

    def _move(self, what: str, source: str, target: str, options: dict[str, Any]) -> None:
        self._note(what, target)
        self._real[what](source, target, **options)
        for path in [name for name in self._names if name == source or name.startswith(source + os.sep)]:
            self._names[target + path[len(source) :]] = self._names.pop(path)

    def _unlink(self, path: Any, **options: Any) -> None:
        name = os.fspath(path)
        if name in self._names:
            self._note("unlink", name)
        elif self._has_crashed:
            raise Crash
        self._real["unlink"](path, **options)
        self._names.pop(name, None)

    def _mkdir(self, path: Any, mode: int = 0o777, **options: Any) -> None:
        self._note("mkdir", os.fspath(path))
        self._real["mkdir"](path, mode, **options)

    def _sync_names(self, folder: str) -> None:
        """What is in a folder now is there after a power cut too; what is not is gone."""
        for path in [name for name in self._durable_names if os.path.dirname(name) == folder]:
            del self._durable_names[path]
        # A folder that is itself not durable takes its files with it; the tests begin with a durable one.
        self._durable_names |= {name: file for name, file in self._names.items() if os.path.dirname(name) == folder}


def _say(is_certain: bool) -> str:
    return "durable" if is_certain else "all"
