"""Who supervises a data folder: a lock that dies with its holder, and a file that says what runs.

    supervisor.lock   held (flock) for as long as a supervisor lives, so it can never be stale
    supervisor.json   {pid, startTime, dev, meshUrl, services: [{name, pid, state, url, log, restarts}]}

A pid alone can be another process by now; together with the kernel's start time of that process it cannot.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tana.client.keyfiles import write_private_file
from tana.types.errors import Conflict, SettingsError

STATE_FILE = "supervisor.json"
LOCK_FILE = "supervisor.lock"


class ServiceRecord(msgspec.Struct, frozen=True, rename="camel"):
    """One supervised process. `state` is starting, ready, silent, restarting, failed or stopped."""

    name: str
    state: str
    url: str
    log: str
    pid: int | None = None
    restarts: int = 0


class RunRecord(msgspec.Struct, frozen=True, rename="camel"):
    """What `supervisor.json` holds. `start_time` is in clock ticks since boot, 0 where the system does not tell."""

    pid: int
    start_time: int
    dev: bool
    mesh_url: str
    services: tuple[ServiceRecord, ...] = ()

    def is_alive(self) -> bool:
        """Whether the process that wrote this still runs (not merely another one under its pid)."""
        return read_start_time(self.pid) == self.start_time


@dataclass
class RunFile:
    """The lock and the state file of one data folder."""

    folder: Path
    _lock: int | None = None

    @property
    def path(self) -> Path:
        return self.folder / STATE_FILE

    def acquire(self) -> None:
        """Become the folder's supervisor. Raises `Conflict` where another one lives, `SettingsError`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(
                f"the data folder {self.folder} cannot be written: {error.strerror}",
                remedy="give a folder that this user may write with --data DIR",
                field="data",
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            record = self.read()
            raise Conflict(
                f"tana is already running on {self.folder}" + (f" (pid {record.pid})" if record else ""),
                remedy=f"stop it with `tana stop --data {self.folder}`, or give another folder with --data",
                code="already_running",
            ) from None
        self._lock = lock

    def write(self, record: RunRecord) -> None:
        """Replace the state file. Raises `SettingsError`."""
        write_private_file(self.path, msgspec.json.format(msgspec.json.encode(record)), force=True)

    def read(self) -> RunRecord | None:
        """What the file says, None where there is none. Raises `SettingsError` where it is damaged."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=RunRecord)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise SettingsError(
                f"{self.path} cannot be read: {error}", remedy="remove it if no tana runs on this folder"
            ) from None

    def read_alive(self) -> RunRecord | None:
        """The record of a supervisor that runs, None where there is none (a stale file counts as none)."""
        record = self.read()
        return record if record is not None and record.is_alive() else None

    def release(self) -> None:
        """Remove the state file and give the lock back."""
        if self._lock is None:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None


def make_record(dev: bool, mesh_url: str) -> RunRecord:
    """The record of this very process."""
    return RunRecord(os.getpid(), read_start_time(os.getpid()) or 0, dev, mesh_url)


def read_start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), stat, field 22); None where it does not run.

    Without /proc (macOS) 0 for a process that runs.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1")
    except OSError:
        return None if Path("/proc/self/stat").exists() else _probe(pid)
    # The second field is the program's name in parentheses and may hold anything, even parentheses.
    fields = stat.rpartition(")")[2].split()
    is_zombie = fields[0] in ("Z", "X")
    return None if is_zombie else int(fields[19])


def _probe(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0


def to_json(record: RunRecord) -> dict[str, Any]:
    """A record as JSON values."""
    value: dict[str, Any] = msgspec.to_builtins(record)
    return value
