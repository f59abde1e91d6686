"""Waiting for processes without sleeping: on a line that they write, or on their end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

TIMEOUT_MS = 60_000


def start_testbed(scenario: Path, runs_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    """`testbed run` as a process of its own, on the processes backend."""
    command = [sys.executable, "-m", "testbed", "run", str(scenario), "--backend", "processes"]
    command += ["--runs-dir", str(runs_dir), *arguments]
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """The first line of a process's output that has the words."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return line
    raise AssertionError(f"{words!r} never came:\n{''.join(seen)}")


def open_children(parent: int) -> dict[int, int]:
    """A descriptor for each living child of a process, by process id: it stays readable however the child ends."""
    return {pid: os.pidfd_open(pid) for pid in _list_children(parent)}


def wait_all_gone(descriptors: dict[int, int]) -> None:
    """Wait until every process has ended, and close the descriptors."""
    for pid, descriptor in descriptors.items():
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(TIMEOUT_MS), f"process {pid} is still there"
        os.close(descriptor)


def _list_children(parent: int) -> list[int]:
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # It has ended meanwhile.
        if int(fields[1]) == parent and fields[0] != "Z":
            children.append(int(path.parent.name))
    return children
