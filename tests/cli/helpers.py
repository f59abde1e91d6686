"""What the tests of the command line share: free ports, waiting for conditions, processes that never outlive a test."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE_S = 60
"""After this a condition counts as never coming true."""


def find_free_port() -> int:
    """A port that nobody has, and nobody is likely to take: below those of outgoing connections, from 32768, and those
    of `find_port_offset`. Tests beside this one draw from the same."""
    while not _is_free(port := 10_000 + secrets.randbelow(8_000)):
        pass
    return port


def find_port_offset(ports: tuple[int, ...]) -> int:
    """An offset at which all of these ports are free."""
    # Below 32768: above it are the ports that outgoing connections take at any moment.
    offset = 10_000 + os.getpid() % 600 * 20
    while not all(_is_free(port + offset) for port in ports):
        offset += 7
    return offset


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; fail with its name where it does not come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_S} s in vain: {what}")
        time.sleep(0.02)


class Process:
    """A child process whose output goes to a file."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def count(self, pattern: str) -> int:
        """How often a regular expression is in the output."""
        return len(re.findall(pattern, self.output))

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Wait until the output has a regular expression; fail at once where the process ended without it."""

        def is_there() -> bool:
            ended = self.popen.poll() is not None
            if self.count(pattern) >= times:
                return True
            if ended:
                pytest.fail(f"ended with {self.popen.returncode} before {pattern!r}:\n{self.output}")
            return False

        wait_until(is_there, f"{pattern!r} in the output of {self.popen.args!r}")

    def wait_end(self) -> int:
        """Wait for the end; its exit code."""
        wait_until(lambda: self.popen.poll() is not None, f"end of {self.popen.args!r}")
        code: int = self.popen.returncode
        return code

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)


@contextlib.contextmanager
def running(arguments: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """A process that is gone when the block ends; what it printed is shown where the block fails."""
    process = Process(arguments, log, environment)
    try:
        yield process
    except BaseException:
        print(process.output)
        raise
    finally:
        if process.popen.poll() is None:
            # First the calm way, so that a supervisor stops its children.
            process.popen.terminate()
            try:
                process.popen.wait(15)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
