from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tana.cli.main import app
from tana.client import keyfiles
from tana.client.mesh import MeshClient
from tana.crypto.keys import KeyPair, verify_text
from tana.types.errors import TanaError
from tana.types.mesh import approval_text, registration_text
from tests.cli.helpers import find_free_port, running, wait_until
from tests.cli.typescript_mesh import TypeScriptMesh, serve_typescript_mesh

Cli = Callable[..., Any]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys, data and home are here and nowhere else."""
    monkeypatch.setenv("TANA_CONFIG_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("TANA_SOVEREIGN", "MESH_SOVEREIGN", "TANA_DATA_DIR", "MESH_DB_PATH"):
        monkeypatch.delenv(name, raising=False)
    keyfiles.write_key(keyfiles.get_sovereign_key_path(), KeyPair.generate())
    return tmp_path


@pytest.fixture
def mesh(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a mesh that `tana mesh serve` runs."""
    port = find_free_port()
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MESH_URL", url)
    arguments = ["-m", "tana.cli.main", "mesh", "serve", "--port", str(port), "--host", "127.0.0.1"]
    with running([*arguments, "--db", str(folders / "mesh.db")], folders / "mesh.log") as process:
        wait_until(lambda: process.popen.poll() is not None or _answers(url), "the mesh")
        yield url


@pytest.fixture
def typescript(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TypeScriptMesh]:
    with serve_typescript_mesh() as mesh:
        monkeypatch.setenv("MESH_URL", mesh.url)
        yield mesh


def _answers(url: str) -> bool:
    try:
        with MeshClient(url) as client:
            return bool(client.get_health()["status"] == "ok")
    except TanaError:
        return False


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_road_from_registration_to_genesis(mesh: str, folders: Path) -> None:
    said = run("mesh", "register", "--dev", "--node-id", "validator-2", "--port-offset", "100")
    assert "validator-2 is registered" in said
    assert "tana mesh approve validator-2" in said
    assert "tana validator run --node-id validator-2 --port-offset 100" in said
    assert "no node is active" in run("mesh", "list")
    assert "no node is approved" in run("genesis", "create", code=1)

    assert "validator-2 is active" in run("mesh", "approve", "validator-2")
    assert "validator-2" in run("mesh", "list")
    ports = {row["type"]: row["port"] for row in json.loads(run("mesh", "topology", "--json"))["nodes"][0]["services"]}
    assert ports == {"ledger": 8180, "t4": 8280, "consensus": 9100}
    assert "9100" in run("mesh", "topology")
    assert "no genesis yet" in run("genesis", "verify", code=1)

    assert "1 validators" in run("genesis", "create", "--currency", "USD:2", "--power", "validator-2=3")
    shown = json.loads(run("genesis", "show", "--json"))
    assert shown["genesis"]["validators"][0]["power"] == 3
    assert "validator-2" in run("genesis", "show")
    verified = json.loads(run("genesis", "verify", "--json"))
    assert verified["valid"]
    assert verified["trusted"]
    assert verified["chainId"] == shown["chainId"]
    assert "another" in run("genesis", "create", code=1).lower()


def test_keys_and_sign_state_are_made_together_in_their_folders(mesh: str, folders: Path) -> None:
    run("mesh", "register", "--dev", "--node-id", "v1")
    names = {path.name for path in (folders / "keys").iterdir()}
    services = {f"v1-{service}-key.json" for service in ("ledger", "t4", "consensus")}
    assert names == {"sovereign-key.json", "node-key-v1.json"} | services
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (folders / "keys").iterdir())
    assert (folders / "home/.local/share/tana/v1/sign-state").is_dir()
    assert {path.name for path in folders.iterdir()} <= {
        "keys",
        "home",
        "mesh.db",
        "mesh.db-wal",
        "mesh.db-shm",
        "mesh.log",
    }


def test_registering_again_is_no_error_and_never_another_key(mesh: str, folders: Path) -> None:
    run("mesh", "register", "--dev", "--node-id", "v1")
    before = (folders / "keys/node-key-v1.json").read_text()
    assert "v1 is registered" in run("mesh", "register", "--dev", "--node-id", "v1")
    assert (folders / "keys/node-key-v1.json").read_text() == before
    assert "other ports" in run("mesh", "register", "--dev", "--node-id", "v1", "--port-offset", "1000", code=1)


def test_invalid_second_key_for_a_used_id(mesh: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("mesh", "register", "--dev", "--node-id", "v1")
    monkeypatch.setenv("TANA_CONFIG_DIR", str(folders / "thief"))
    said = run("mesh", "register", "--dev", "--node-id", "v1", "--data", str(folders / "thief-data"), code=1)
    assert "  → " in said


def test_list_shows_each_status(mesh: str) -> None:
    for name in ("a1", "b1", "c1"):
        run("mesh", "register", "--dev", "--node-id", name)
    run("mesh", "approve", "a1")
    run("mesh", "deny", "b1")
    everyone = {node["id"]: node["status"] for node in json.loads(run("mesh", "list", "--all", "--json"))["nodes"]}
    assert everyone == {"a1": "active", "b1": "denied", "c1": "pending"}
    for node_id, status in everyone.items():
        shown = json.loads(run("mesh", "list", "--status", status, "--json"))["nodes"]
        assert [node["id"] for node in shown] == [node_id]
    assert "1 pending, 1 active" in run("mesh", "status")
    assert "denied" in run("mesh", "status", "b1")
    assert json.loads(run("mesh", "status", "c1", "--json"))["status"] == "pending"


def test_invalid_decisions(mesh: str, folders: Path) -> None:
    assert "  → " in run("mesh", "approve", "nobody", code=1)
    run("mesh", "register", "--dev", "--node-id", "v1")
    stranger = folders / "stranger.json"
    keyfiles.write_key(stranger, KeyPair.generate())
    assert "sovereign" in run("mesh", "approve", "v1", "--sovereign-key", str(stranger), code=1)
    assert json.loads(run("mesh", "status", "v1", "--json"))["status"] == "pending"
    run("mesh", "deny", "v1")
    run("mesh", "approve", "v1", code=1)


def test_invalid_genesis_signers_and_drafts(mesh: str, folders: Path) -> None:
    run("mesh", "register", "--dev", "--node-id", "v1")
    run("mesh", "approve", "v1")
    stranger = folders / "stranger.json"
    keyfiles.write_key(stranger, KeyPair.generate())
    assert "error:" in run("genesis", "create", "--sovereign-key", str(stranger), code=1)
    draft = folders / "draft.json"
    draft.write_text(run("genesis", "create", "--dry-run"))
    assert "names the sovereign" in run(
        "genesis", "create", "--from", str(draft), "--sovereign-key", str(stranger), code=1
    )
    for arguments in (["--currency", "USD"], ["--power", "v1=0"], ["--power", "v2=1"]):
        run("genesis", "create", *arguments, code=2)
    assert "no approved node" in run("genesis", "create", "--node", "v9", code=1)
    assert "no genesis yet" in run("genesis", "show", code=1)
    signed = folders / "signed.json"
    run("genesis", "create", "--from", str(draft), "--out", str(signed))
    assert json.loads(signed.read_text()) == json.loads(run("genesis", "show", "--json"))
    run("genesis", "verify", "--file", str(signed))
    assert "not by" in run("genesis", "verify", "--file", str(signed), "--sovereign", str(stranger), code=1)
    body = json.loads(signed.read_text())
    body["genesis"]["currencies"][0]["decimals"] = 3
    del body["chainId"]
    signed.write_text(json.dumps(body))
    assert json.loads(run_stdout("genesis", "verify", "--file", str(signed), "--json", code=1))["valid"] is False


def run_stdout(*arguments: str, code: int) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.stdout


def test_mesh_says_which_setting_is_wrong(folders: Path) -> None:
    assert "nobody-key.json" in run("mesh", "serve", "--sovereign", "nobody", code=2)
    assert "--port" in run("mesh", "serve", "--port", "70000", code=2)


def test_commands_work_against_a_typescript_mesh(typescript: TypeScriptMesh) -> None:
    run("mesh", "register", "--dev", "--node-id", "validator-2", "--port-offset", "100")
    run("mesh", "register", "--dev", "--node-id", "validator-3", "--port-offset", "200")
    run("mesh", "approve", "validator-2")
    run("mesh", "deny", "validator-3")
    assert "validator-2" in run("mesh", "list")
    assert "validator-3" not in run("mesh", "list")
    everyone = {node["id"]: node["status"] for node in json.loads(run("mesh", "list", "--all", "--json"))["nodes"]}
    assert everyone == {"validator-2": "active", "validator-3": "denied"}
    assert "active" in run("mesh", "status", "validator-2")
    assert "1 active" in run("mesh", "status")
    assert "9100" in run("mesh", "topology")
    assert "no genesis" in run("genesis", "show", code=1)


def test_typescript_mesh_gets_the_signatures_it_knows(typescript: TypeScriptMesh) -> None:
    run("mesh", "register", "--dev", "--node-id", "v1")
    run("mesh", "approve", "v1")
    registration = next(body for body in typescript.bodies if "nodeId" in body)
    text = registration_text("v1", registration["publicKey"], registration["tailscaleHostname"])
    assert verify_text(registration["publicKey"], text, registration["signature"])
    approval = next(body for body in typescript.bodies if "approverPublicKey" in body)
    assert verify_text(approval["approverPublicKey"], approval_text("v1"), approval["signature"])
