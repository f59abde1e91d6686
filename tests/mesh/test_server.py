"""The mesh as a process: what it survives, how it stops, and what it says when it cannot start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

from tana.client.mesh import MeshClient
from tana.client.registration import build_heartbeat
from tana.mesh.server import open_listener, run_mesh
from tana.mesh.settings import MeshSettings, load_settings
from tana.types.errors import InvalidInput, SettingsError, StorageError
from tests.mesh.helpers import SOVEREIGN, make_genesis, make_key, make_registration

ROOT = Path(__file__).parents[2]
SERVE = """
import sys
from tana.mesh.server import run_mesh
from tana.mesh.settings import load_settings
run_mesh(load_settings(host="127.0.0.1"), lambda url: print("LISTENING", url, flush=True))
"""


class MeshProcess:
    """A real mesh in a process of its own, on a free port."""

    def __init__(self, database: Path) -> None:
        environment = os.environ | {
            "MESH_SOVEREIGN": SOVEREIGN.public_text,
            "MESH_PORT": "0",
            "MESH_DB_PATH": str(database),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        self.url = self._read_url(self.process.stdout)
        self.client = MeshClient(self.url)

    def stop(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def clean_up(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read_url(self, output: IO[str] | None) -> str:
        assert output is not None
        for line in output:
            if line.startswith("LISTENING"):
                return line.split()[1]
        raise AssertionError(f"the mesh did not start: exit code {self.process.wait(30)}")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "mesh.db"


@pytest.fixture
def mesh(database: Path) -> Iterator[MeshProcess]:
    process = MeshProcess(database)
    yield process
    process.clean_up()


def make_settings(database: Path, port: int = 0) -> MeshSettings:
    return load_settings(sovereign=SOVEREIGN.public_text, host="127.0.0.1", port=port, db_path=database)


def test_kill_right_after_an_answer_loses_nothing(mesh: MeshProcess, database: Path) -> None:
    mesh.client.register(make_registration("a"))
    mesh.client.register(make_registration("b"))
    mesh.client.approve("a", SOVEREIGN)
    timestamp_ms = int(mesh.client.get_node("a").approved_at or 0) + 1
    beat = build_heartbeat(make_key("a"), "a", timestamp_ms)
    mesh.client.heartbeat(beat)
    mesh.client.put_genesis(make_genesis())
    mesh.client.register(make_registration("c"))
    assert mesh.stop(signal.SIGKILL) == -signal.SIGKILL

    again = MeshProcess(database)
    try:
        nodes = {node.id: node.status for node in again.client.list_all_nodes()}
        assert nodes == {"a": "active", "b": "pending", "c": "pending"}
        assert again.client.get_genesis() == make_genesis()
        assert again.client.get_node("a").heartbeat_timestamp == timestamp_ms
        with pytest.raises(InvalidInput, match="does not rise"):
            again.client.heartbeat(beat)
    finally:
        again.clean_up()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly_with_an_open_event_stream(mesh: MeshProcess, number: signal.Signals) -> None:
    with httpx.stream("GET", f"{mesh.url}/events", timeout=30) as response:
        lines = response.iter_lines()
        assert next(lines) == "retry: 1000"
        assert mesh.stop(number) == 0
        # The stream was ended properly, not cut.
        assert [line for line in lines if line] == [": listening"]


def test_invalid_port_taken(database: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            run_mesh(make_settings(database, port))
    assert f"port {port}" in caught.value.message
    assert "--port or MESH_PORT" in caught.value.remedy
    assert not database.exists()


@pytest.mark.parametrize("host", ["no such host", "203.0.113.7"])
def test_invalid_host(host: str) -> None:
    with pytest.raises(SettingsError):
        open_listener(host, 0)


def test_invalid_database_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be used"):
        run_mesh(make_settings(tmp_path / "file" / "mesh.db"))


def test_invalid_database_of_another_sovereign(mesh: MeshProcess, database: Path) -> None:
    assert mesh.stop(signal.SIGTERM) == 0
    other = make_settings(database).model_copy(update={"sovereign": make_key("other").public_text})
    with pytest.raises(StorageError, match="was made with the sovereign"):
        run_mesh(other)


def test_invalid_database_of_a_running_mesh(mesh: MeshProcess, database: Path) -> None:
    with pytest.raises(SettingsError, match="in use by another"):
        run_mesh(make_settings(database))
    assert mesh.client.get_health()["status"] == "ok"
