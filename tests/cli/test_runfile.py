from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tana.cli.main import app
from tana.cli.runfile import STATE_FILE, RunFile, RunRecord, ServiceRecord, make_record, read_start_time
from tana.types.errors import Conflict, SettingsError


def test_record_is_written_read_and_removed(tmp_path: Path) -> None:
    run_file = RunFile(tmp_path)
    run_file.acquire()
    service = ServiceRecord("mesh", "ready", "http://127.0.0.1:8190", "mesh.log", 17, 2)
    record = msgspec.structs.replace(make_record(True, "http://127.0.0.1:8190"), services=(service,))
    run_file.write(record)
    assert RunFile(tmp_path).read_alive() == record
    assert (tmp_path / STATE_FILE).stat().st_mode & 0o777 == 0o600
    run_file.release()
    assert RunFile(tmp_path).read() is None


def test_start_time_tells_processes_apart() -> None:
    own = read_start_time(os.getpid())
    assert own is not None
    assert own > 0
    assert own == read_start_time(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = read_start_time(child.pid)
        assert other is not None
        assert other > own
        child.communicate(b"\n")
    assert read_start_time(child.pid) is None


def test_ended_process_that_nobody_waited_for_counts_as_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert read_start_time(child.pid) is None
    child.wait()


def test_another_process_under_the_same_pid_is_stale(tmp_path: Path) -> None:
    own = make_record(False, "")
    RunFile(tmp_path).write(RunRecord(own.pid, own.start_time + 1, False, ""))
    assert RunFile(tmp_path).read_alive() is None


def test_stop_never_signals_a_stale_pid(tmp_path: Path) -> None:
    own = make_record(False, "")
    RunFile(tmp_path).write(RunRecord(own.pid, own.start_time + 1, False, ""))
    result = CliRunner().invoke(app, ["stop", "--data", str(tmp_path)])
    assert result.exit_code == 0
    assert "nothing is running" in result.output


def test_invalid_second_lock(tmp_path: Path) -> None:
    first = RunFile(tmp_path)
    first.acquire()
    with pytest.raises(Conflict, match="already running"):
        RunFile(tmp_path).acquire()
    first.release()
    second = RunFile(tmp_path)
    second.acquire()
    second.release()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "one"}', '{"pid": 1}'])
@pytest.mark.parametrize("command", ["stop", "status"])
def test_invalid_state_file(tmp_path: Path, text: str, command: str) -> None:
    (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(SettingsError, match=STATE_FILE):
        RunFile(tmp_path).read()
    result = CliRunner().invoke(app, [command, "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "  → remove it" in result.stderr
