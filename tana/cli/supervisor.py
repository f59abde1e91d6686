"""Keeps child processes running: starts each one behind its health check, restarts what crashes, stops in order.

One thread and one loop. A child is in a session of its own, so that Ctrl-C reaches only the supervisor, which then
stops the children itself, last started first. On Linux the kernel kills a child whose supervisor died (prctl(2),
PR_SET_PDEATHSIG): nobody would restart or stop it otherwise.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tana.cli.runfile import RunFile, RunRecord, ServiceRecord
from tana.types.errors import SettingsError, TanaError, Unavailable

TICK_MS = 50
PROBE_INTERVAL_MS = 1_000
FIRST_PAUSE_MS = 500
LONGEST_PAUSE_MS = 30_000
STABLE_AFTER_MS = 60_000
"""A service that ran this long starts again with the first pause."""

MAX_LOG_BYTES = 16 * 1024 * 1024
"""A service's log that has grown over this becomes its `.1`; of each service there are two files at most."""

_PR_SET_PDEATHSIG = 1
_SETTINGS_EXIT_CODE = 2
_LOG_END_BYTES = 8192
_ERROR = "error: "


class Interrupted(Exception):
    """A signal asked the supervisor to stop."""


@dataclass(frozen=True)
class ServiceSpec:
    """How to run a service, and how to ask whether it is well.

    `probe` returns a few words (`validating`) or None while the service does not answer. `is_up` says whether these
    words let the next service start, `is_stuck` whether they mean that it never will.
    """

    name: str
    arguments: tuple[str, ...]
    url: str
    probe: Callable[[], str | None]
    is_up: Callable[[str], bool] = lambda _words: True
    is_stuck: Callable[[str], bool] = lambda _words: False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Service:
    """One service as it is right now. Times are of the monotonic clock, in ms."""

    spec: ServiceSpec
    log_path: Path
    log_start: int = 0
    state: str = "starting"
    words: str = ""
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    crashes_in_a_row: int = 0
    started_at_ms: int = 0
    next_start_at_ms: int = 0
    next_probe_at_ms: int = 0

    def to_record(self) -> ServiceRecord:
        pid = self.process.pid if self.process is not None and self.process.poll() is None else None
        return ServiceRecord(self.spec.name, self.state, self.spec.url, str(self.log_path), pid, self.restarts)


class Supervisor:
    """Runs services for as long as its `with` block lasts; leaving the block stops them, whatever the reason."""

    def __init__(
        self,
        run_file: RunFile,
        record: RunRecord,
        log_folder: Path,
        say: Callable[[str, str], None],
        grace_ms: int = 10_000,
    ) -> None:
        self._run_file = run_file
        self._record = record
        self._log_folder = log_folder
        self._say = say
        self._grace_ms = grace_ms
        self._services: list[Service] = []
        self._stop = threading.Event()
        self._stop_signals = 0
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Supervisor:
        self._run_file.acquire()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Whoever started us with nohup meant it.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._on_signal)
        self._save()
        return self

    def __exit__(self, *details: object) -> None:
        try:
            for service in reversed(self._services):
                self._stop_service(service)
        finally:
            self._run_file.release()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def launch(self, spec: ServiceSpec, timeout_ms: int = 60_000) -> None:
        """Start a service and wait until it is up.

        Raises `Interrupted`; `SettingsError` or `Unavailable` with the end of its log where it stops or stays silent.
        """
        self._log_folder.mkdir(parents=True, exist_ok=True)
        service = Service(spec, self._log_folder / f"{spec.name}.log")
        self._services.append(service)
        self._spawn(service)
        deadline_ms = _now_ms() + timeout_ms
        while not self._is_up(service):
            if service.process is not None and service.process.poll() is not None:
                raise _explain_exit(service, service.process.returncode)
            if spec.is_stuck(service.words):
                raise TanaError(f"{spec.name} is {service.words}", remedy=f"read {service.log_path}", code="stuck")
            if _now_ms() > deadline_ms:
                raise Unavailable(
                    f"{spec.name} runs, but is not ready after {timeout_ms // 1000} s"
                    + (f": {service.words}" if service.words else ""),
                    remedy=f"read {service.log_path}",
                )
            self.check_interrupted()
            self._stop.wait(TICK_MS / 1000)
            self._tend_others(service)

    def run(self) -> None:
        """Tend the services until a signal asks to stop."""
        while not self._stop.wait(TICK_MS / 1000):
            for service in self._services:
                self._tend(service)

    def check_interrupted(self) -> None:
        """Raises `Interrupted` once a signal came."""
        if self._stop.is_set():
            raise Interrupted

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stop_signals += 1
        self._stop.set()

    def _tend_others(self, starting: Service) -> None:
        for service in self._services:
            if service is not starting:
                self._tend(service)

    def _tend(self, service: Service) -> None:
        if service.process is None:
            if _now_ms() >= service.next_start_at_ms:
                service.restarts += 1
                self._spawn(service)
            return
        code = service.process.poll()
        if code is not None:
            self._on_exit(service, code)
        elif _now_ms() >= service.next_probe_at_ms:
            self._is_up(service)
            if rotate_log(service.log_path):
                service.log_start = 0

    def _spawn(self, service: Service) -> None:
        with service.log_path.open("ab") as log:
            service.log_start = log.tell()
            service.process = _start_process(service.spec, log)
        service.started_at_ms = _now_ms()
        service.next_probe_at_ms = 0
        self._become(service, "starting", f"starting (pid {service.process.pid})")

    def _is_up(self, service: Service) -> bool:
        words = service.spec.probe()
        # An answer counts only while our process lives: another one may have taken its port.
        if words is None or service.process is None or service.process.poll() is not None:
            was_ready = service.state == "ready"
            if was_ready:
                self._become(service, "silent", "does not answer")
        else:
            self._become(service, "ready", words)
        is_settled = service.state == "ready"
        service.next_probe_at_ms = _now_ms() + (PROBE_INTERVAL_MS if is_settled else TICK_MS)
        return words is not None and is_settled and service.spec.is_up(words)

    def _on_exit(self, service: Service, code: int) -> None:
        if _now_ms() - service.started_at_ms > STABLE_AFTER_MS:
            service.crashes_in_a_row = 0
        pause_ms = compute_pause_ms(service.crashes_in_a_row)
        service.crashes_in_a_row += 1
        service.process = None
        service.next_start_at_ms = _now_ms() + pause_ms
        said = _read_error(service)
        why = _describe_exit(code) + (f": {said}" if said else "")
        self._become(service, "restarting", f"stopped ({why}), starts again in {pause_ms / 1000:g} s")

    def _stop_service(self, service: Service) -> None:
        process = service.process
        if process is None or process.poll() is not None:
            self._become(service, "stopped", "stopped")
            return
        process.terminate()
        patience_ends_ms = _now_ms() + self._grace_ms
        signals_before = self._stop_signals
        while process.poll() is None:
            # A second Ctrl-C means: now.
            if _now_ms() > patience_ends_ms or self._stop_signals > max(signals_before, 1):
                process.kill()
            try:
                process.wait(TICK_MS / 1000)
            except subprocess.TimeoutExpired:
                continue
        self._become(service, "stopped", "stopped")

    def _become(self, service: Service, state: str, words: str) -> None:
        if (service.state, service.words) == (state, words):
            return
        service.state, service.words = state, words
        self._say(service.spec.name, words)
        # A full disk must not stop a validator for the sake of a status file.
        with contextlib.suppress(SettingsError):
            self._save()

    def _save(self) -> None:
        services = tuple(service.to_record() for service in self._services)
        record = self._record
        self._run_file.write(RunRecord(record.pid, record.start_time, record.dev, record.mesh_url, services))


def rotate_log(path: Path, max_bytes: int = MAX_LOG_BYTES) -> bool:
    """Begin a log anew once it is over a size, keeping the old one as `.1`. Whether it did.

    The service goes on writing into the same file, at its end (O_APPEND): lines that it writes between the copy and
    the cut are lost. On a full disk the old log is given up for room.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
        older = path.with_name(f"{path.name}.1")
        try:
            shutil.copyfile(path, older)
        except OSError:
            older.unlink(missing_ok=True)
        os.truncate(path, 0)
    except OSError:
        # Somebody took the log away; a validator is not stopped for that.
        return False
    return True


def compute_pause_ms(crashes_in_a_row: int) -> int:
    """How long to wait before a restart: doubles with each crash, up to a bound."""
    return int(min(FIRST_PAUSE_MS * 2 ** min(crashes_in_a_row, 16), LONGEST_PAUSE_MS))


def _start_process(spec: ServiceSpec, log: IO[bytes]) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    prctl = _load_prctl()

    def die_with_parent() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            # The supervisor may have died before the line above.
            if os.getppid() != parent:
                os._exit(1)

    return subprocess.Popen(
        [sys.executable, *spec.arguments],
        env={**os.environ, **spec.environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - this process has one thread
    )


def _load_prctl() -> Callable[[int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl: Callable[[int, int], int] = ctypes.CDLL(None, use_errno=True).prctl
    return prctl


def _explain_exit(service: Service, code: int) -> TanaError:
    said = _read_error(service)
    kind = SettingsError if code == _SETTINGS_EXIT_CODE else TanaError
    return kind(
        f"{service.spec.name} stopped while starting ({_describe_exit(code)})" + (f": {said}" if said else ""),
        remedy=f"mend that and start again; its whole log is {service.log_path}",
    )


def _read_error(service: Service) -> str:
    """The last error line that a process wrote into its log, with the remedy behind it; empty where there is none."""
    with service.log_path.open("rb") as log:
        log.seek(max(service.log_start, log.seek(0, os.SEEK_END) - _LOG_END_BYTES))
        lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines()]
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith(_ERROR):
            return " ".join([lines[index].removeprefix(_ERROR), *lines[index + 1 : index + 2]])
    return ""


def _describe_exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _now_ms() -> int:
    return int(time.monotonic() * 1000)
