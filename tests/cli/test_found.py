"""`tana found-chain`, with a mesh in this process behind the client's HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tana.cli.main import app
from tana.client import keyfiles
from tana.client.mesh import MeshClient
from tana.client.registration import build_approval, build_registration, build_service
from tana.crypto.keys import KeyPair
from tana.mesh.memory import MemoryStore
from tana.mesh.service import MeshService
from tana.types import canonical

SOVEREIGN = KeyPair.from_seed(b"s" * 32)
NOW_MS = 1_700_000_000_000


class MeshInProcess:
    """Answers every client of this process; `arrivals` register one by one, each when somebody asked for a node."""

    def __init__(self) -> None:
        self.service = MeshService(MemoryStore(), SOVEREIGN.public_text)
        self.arrivals: list[str] = []

    def register(self, node_id: str) -> None:
        key = KeyPair.from_seed(node_id.encode().ljust(32, b"."))
        services = [build_service("consensus", 9000, KeyPair.from_seed(node_id.encode().rjust(32, b".")).public_text)]
        body = build_registration(key, node_id, node_id, None, services)
        assert self.service.handle("POST", "/register", {}, body, NOW_MS)[0] == 201

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = canonical.loads(request.content) if request.content else None
        path = request.url.path
        status, answer = self.service.handle(request.method, path, dict(request.url.params), body, NOW_MS)
        if self.arrivals and path.startswith("/nodes/"):
            self.register(self.arrivals.pop(0))
        return httpx.Response(status, json=answer)


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeshInProcess:
    mesh = MeshInProcess()
    make_client = httpx.Client

    def make_client_in_process(**options: Any) -> httpx.Client:
        return make_client(**options, transport=httpx.MockTransport(mesh.answer))

    monkeypatch.setattr(httpx, "Client", make_client_in_process)
    monkeypatch.setenv("TANA_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("MESH_URL", "http://mesh")
    keyfiles.write_key(keyfiles.get_sovereign_key_path(), SOVEREIGN)
    return mesh


def found(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["found-chain", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_waits_for_everybody_then_approves_and_writes_the_genesis(mesh: MeshInProcess) -> None:
    mesh.arrivals = ["v1", "v2"]
    said = found("v1", "v2")
    assert [line.rstrip("…").split()[:2] for line in said.splitlines()] == [
        ["v1", "approved"],
        ["v2", "approved"],
        ["genesis", "written;"],
    ]
    with MeshClient("http://mesh") as client:
        signed = client.get_genesis()
    assert signed is not None
    assert [validator.nodeId for validator in signed.genesis.validators] == ["v1", "v2"]


def test_what_is_done_is_left_alone(mesh: MeshInProcess) -> None:
    mesh.register("v1")
    mesh.service.handle("POST", "/approve/v1", {}, build_approval(SOVEREIGN, "v1"), NOW_MS)
    assert "approved" not in found("v1")
    assert found("v1") == ""


def test_node_that_never_comes_is_named(mesh: MeshInProcess) -> None:
    mesh.register("v1")
    said = found("v1", "v2", "--wait-s", "0", code=3)
    assert "in vain for v2 to register" in said
    assert mesh.service.registry.genesis is None
    assert mesh.service.registry.get_node("v1").status == "pending"


def test_without_the_sovereigns_key_nothing_is_done(mesh: MeshInProcess) -> None:
    mesh.register("v1")
    keyfiles.get_sovereign_key_path().unlink()
    assert "somebody else" in found("v1")
    assert mesh.service.registry.get_node("v1").status == "pending"
