from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tana.cli.runfile import RunFile, ServiceRecord, read_start_time
from tana.cli.supervisor import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, compute_pause_ms, rotate_log
from tests.cli.helpers import Process, find_free_port, running, wait_until
from tests.node.full_disk import limit_file_size

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a supervisor over services that behave as the words say."""
    with contextlib.ExitStack() as stack:

        def start_services(*manners: str, grace_ms: int = 10_000) -> Process:
            services = [f"{name}-{index}:{find_free_port()}:{name}" for index, name in enumerate(manners)]
            arguments = ["-m", "tests.cli.fake_start", str(tmp_path), str(grace_ms), *services]
            return stack.enter_context(running(arguments, tmp_path / "output"))

        yield start_services


def read_services(folder: Path) -> dict[str, ServiceRecord]:
    record = RunFile(folder).read_alive()
    return {} if record is None else {service.name: service for service in record.services}


def is_running(pid: int | None) -> bool:
    return pid is not None and read_start_time(pid) is not None


def test_each_service_starts_when_the_one_before_is_ready(start: Start, tmp_path: Path) -> None:
    process = start("calm", "calm")
    process.wait_for("all: ready")
    lines = [line.split(" (")[0].split(" on ")[0] for line in process.output.splitlines()]
    assert lines == ["calm-0: starting", "calm-0: ready", "calm-1: starting", "calm-1: ready", "all: ready"]
    assert all(is_running(service.pid) for service in read_services(tmp_path).values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_stops_the_last_started_first(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start("calm", "calm")
    process.wait_for("all: ready")
    pids = [service.pid for service in read_services(tmp_path).values()]
    process.signal(number)
    assert process.wait_end() == 0
    assert process.output.splitlines()[-2:] == ["calm-1: stopped", "calm-0: stopped"]
    assert not any(is_running(pid) for pid in pids)
    assert RunFile(tmp_path).read() is None


def test_stubborn_service_is_killed_after_the_grace_time(start: Start, tmp_path: Path) -> None:
    process = start("stubborn", grace_ms=100)
    process.wait_for("all: ready")
    pid = read_services(tmp_path)["stubborn-0"].pid
    process.signal(signal.SIGTERM)
    assert process.wait_end() == 0
    assert not is_running(pid)


def test_second_signal_does_not_wait_for_the_grace_time(start: Start) -> None:
    process = start("stubborn", grace_ms=3_600_000)
    process.wait_for("all: ready")
    process.signal(signal.SIGINT)

    def is_over() -> bool:
        process.signal(signal.SIGINT)
        return process.popen.poll() is not None

    wait_until(is_over, "the end after a second signal")


def test_killed_service_starts_again(start: Start, tmp_path: Path) -> None:
    process = start("calm", "calm")
    process.wait_for("all: ready")
    for times in (1, 2):
        pid = read_services(tmp_path)["calm-0"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        process.wait_for(r"calm-0: stopped \(signal SIGKILL\), starts again in", times)
        process.wait_for("calm-0: ready", times + 1)
        assert read_services(tmp_path)["calm-0"].restarts == times
    assert process.count("calm-1: ready") == 1


def test_children_die_with_a_killed_supervisor(start: Start, tmp_path: Path) -> None:
    process = start("calm", "stubborn")
    process.wait_for("all: ready")
    pids = [service.pid for service in read_services(tmp_path).values()]
    assert len(pids) == 2
    process.signal(signal.SIGKILL)
    process.wait_end()
    wait_until(lambda: not any(is_running(pid) for pid in pids), "the end of the children")
    stale = RunFile(tmp_path)
    assert stale.read() is not None
    assert stale.read_alive() is None


def test_folder_of_a_killed_supervisor_can_be_used_again(start: Start) -> None:
    process = start("calm")
    process.wait_for("all: ready")
    process.signal(signal.SIGKILL)
    process.wait_end()
    start("calm").wait_for("all: ready", times=2)


def test_signal_while_a_service_starts(start: Start, tmp_path: Path) -> None:
    process = start("silent")
    process.wait_for("silent-0: starting")
    process.signal(signal.SIGTERM)
    assert process.wait_end() == 0
    assert "interrupted" in process.output
    assert RunFile(tmp_path).read() is None


def test_invalid_service_that_ends_while_starting(start: Start, tmp_path: Path) -> None:
    process = start("calm", "broken")
    assert process.wait_end() == 2
    assert "error: broken-1 stopped while starting (exit code 2): the flux is misaligned → align it" in process.output
    assert "broken-1.log" in process.output
    assert "calm-0: stopped" in process.output


def test_invalid_second_supervisor_on_one_folder(start: Start) -> None:
    first = start("calm")
    first.wait_for("all: ready")
    second = start("calm")
    assert second.wait_end() == 1
    assert f"is already running on {second.log.parent} (pid {first.popen.pid})" in second.output
    assert "tana stop --data" in second.output
    assert first.popen.poll() is None


def test_restart_tells_what_the_service_said(start: Start) -> None:
    process = start("once")
    process.wait_for("all: ready")
    process.wait_for(r"once-0: stopped \(exit code 1: it was too much → ask for less\), starts again in 0.5 s")


def test_pauses_grow_up_to_a_bound() -> None:
    pauses = [compute_pause_ms(crashes) for crashes in range(100)]
    assert pauses[:3] == [FIRST_PAUSE_MS, 2 * FIRST_PAUSE_MS, 4 * FIRST_PAUSE_MS]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_MS


def test_log_is_bounded_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "validator.log"
    with path.open("ab", buffering=0) as log:
        for letter in (b"a", b"b", b"c"):
            log.write(letter * 100)
            assert not rotate_log(path, 100)
            log.write(b"!")
            assert rotate_log(path, 100)
            assert (tmp_path / "validator.log.1").read_bytes() == letter * 100 + b"!"
            assert path.stat().st_size == 0
        log.write(b"after")
    assert path.read_bytes() == b"after"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["validator.log", "validator.log.1"]


def test_log_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "validator.log"
    path.write_bytes(b"x" * 200)
    (tmp_path / "validator.log.1").write_bytes(b"older")
    with limit_file_size(50):
        assert rotate_log(path, 100)
    assert path.stat().st_size == 0
    assert not (tmp_path / "validator.log.1").exists()


def test_log_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert not rotate_log(tmp_path / "validator.log", 100)
