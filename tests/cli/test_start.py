from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tana.cli.main import app
from tana.cli.runfile import RunFile, read_start_time
from tana.client import keyfiles
from tana.crypto.keys import KeyPair
from tests.cli.helpers import Process, find_free_port, find_port_offset, running, wait_until

Json = dict[str, Any]


@dataclass(frozen=True)
class Chain:
    """A `tana start` with folders and ports of its own."""

    root: Path
    process: Process
    mesh_url: str
    ledger_url: str

    @property
    def data(self) -> Path:
        return self.root / "data"

    def run(self, *arguments: str, code: int = 0) -> str:
        environment = {
            "TANA_CONFIG_DIR": str(self.root / "keys"),
            "MESH_URL": self.mesh_url,
            "TANA_LEDGER_URL": self.ledger_url,
        }
        result = CliRunner().invoke(app, list(arguments), env=environment)
        assert result.exit_code == code, result.output
        return result.stdout

    def ask(self, *arguments: str, code: int = 0) -> Json:
        answer: Json = json.loads(self.run(*arguments, "--json", code=code))
        return answer

    def get_pids(self) -> dict[str, int | None]:
        record = RunFile(self.data).read_alive()
        return {} if record is None else {service.name: service.pid for service in record.services}

    def wait_height(self, height: int) -> None:
        wait_until(lambda: self.get_height() >= height, f"block {height}")

    def get_height(self) -> int:
        health = self.ask("status", "--data", str(self.data))["services"][1]["health"]
        return 0 if health is None else int(health["currentHeight"])


Start = Callable[..., Chain]


@contextlib.contextmanager
def make_chains(root: Path) -> Iterator[Start]:
    mesh_port, offset = find_free_port(), find_port_offset((8080, 8180, 9000, 9001))

    with contextlib.ExitStack() as stack:

        def start(*flags: str) -> Chain:
            environment = {"TANA_CONFIG_DIR": str(root / "keys"), "HOME": str(root / "home")}
            arguments = ["-m", "tana.cli.main", "start", "--data", str(root / "data"), "--port-offset", str(offset)]
            arguments += ["--mesh-port", str(mesh_port), *(flags or ("--dev",))]
            process = stack.enter_context(running(arguments, root / "output", environment))
            return Chain(root, process, f"http://127.0.0.1:{mesh_port}", f"http://127.0.0.1:{8080 + offset}")

        yield start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with make_chains(tmp_path) as start_chain:
        yield start_chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A working chain of one, shared by the tests that leave it running."""
    with make_chains(tmp_path_factory.mktemp("chain")) as start_chain:
        running_chain = start_chain()
        running_chain.process.wait_for("tana .* ready")
        yield running_chain


def make_users(chain: Chain, *names: str) -> None:
    for name in names:
        chain.run("keys", "new", name)
        chain.run("tx", "user", f"@{name}", "--key", name, "--wait")


def test_one_line_for_each_state(chain: Chain) -> None:
    lines = [line.split(maxsplit=2)[1:] for line in chain.process.output.splitlines()]
    assert [name for name, _ in lines][:3] == ["sovereign", "mesh", "mesh"]
    words = [f"{name} {words.split(';')[0].split(' (')[0].split(' on ')[0]}" for name, words in lines]
    order = ["mesh ready", "validator-1 approved", "genesis written", "validator-1 validating", "tana ready"]
    assert [item for item in words if item in order] == order


def test_status_tells_services_and_health(chain: Chain) -> None:
    status = chain.ask("status", "--data", str(chain.data))
    assert status["running"]
    assert status["pid"] == chain.process.popen.pid
    assert [service["name"] for service in status["services"]] == ["mesh", "validator-1"]
    assert all(service["state"] == "ready" and service["restarts"] == 0 for service in status["services"])
    assert status["services"][1]["health"]["state"] == "validating"
    text = chain.run("status", "--data", str(chain.data))
    assert "validating" in text
    assert "currentHeight" in text


def test_money_moves(chain: Chain) -> None:
    make_users(chain, "alice", "bob")
    chain.run("tx", "deposit", "@alice", "100", "USD", "--wait")
    said = chain.run("tx", "transfer", "@bob", "12.50", "USD", "--key", "alice", "--wait")
    assert "committed in block" in said
    assert chain.ask("balance", "@bob")["balances"]["USD"] == "12.50"
    assert chain.ask("balance", "alice")["balances"]["USD"] == "87.50"
    assert "87.50" in chain.run("balance", "@alice")
    transaction_id = said.split()[0]
    status = chain.ask("tx", "status", transaction_id)
    assert status["status"] == "committed"
    metadata = status["transaction"]["metadata"]
    assert metadata["chainId"] == chain.ask("genesis", "verify")["chainId"]
    assert metadata["expiresAtHeight"] > status["height"]
    block = chain.ask("block", "show", str(status["height"]))
    assert transaction_id in [row["id"] for row in block["transactions"]]
    assert chain.ask("tx", "pending") == {"transactions": []}

    refused = chain.run("tx", "transfer", "@bob", "1000", "USD", "--key", "alice", code=1)
    assert refused == ""
    chain.run("tx", "transfer", "@nobody", "1", "USD", "--key", "alice", code=2)
    chain.run("tx", "transfer", "@bob", "1", "USD", "--key", "alice", "--nonce", "0", code=1)
    chain.run("tx", "withdraw", "@bob", "2.50", "USD", "--wait")
    chain.run("tx", "role", "@bob", "staff", "--wait")
    assert chain.ask("balance", "@bob")["balances"]["USD"] == "10.00"
    chain.run("tx", "status", "00" * 32, code=1)


def test_several_transactions_without_waiting_get_rising_nonces(chain: Chain) -> None:
    make_users(chain, "carol")
    sent = [chain.ask("tx", "deposit", "@carol", "1", "BTC") for _ in range(5)]
    nonces = [answer["nonce"] for answer in sent]
    assert nonces == list(range(nonces[0], nonces[0] + 5))
    for answer in sent:
        chain.run("tx", "status", answer["id"], "--wait")
    assert chain.ask("balance", "@carol")["balances"]["BTC"] == "5.00000000"


def test_chain_is_verified_from_the_genesis(chain: Chain) -> None:
    chain.wait_height(1)
    one = chain.ask("block", "verify")
    assert one["valid"]
    assert one["trusted"]
    everything = chain.ask("block", "verify", "--all")
    assert everything["blocks"] >= one["height"]
    shown = chain.ask("block", "show", str(everything["height"]))
    assert everything["hash"] == shown["hash"]
    assert everything["stateRoot"] == shown["stateRoot"]
    assert "is valid" in chain.run("block", "verify", "1")
    chain.run("block", "show", "999999999", code=1)


def test_another_sovereigns_genesis_is_refused(chain: Chain, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.json"
    keyfiles.write_key(stranger, KeyPair.generate())
    facts = json.loads(chain.run("block", "verify", "--json", "--sovereign", str(stranger), code=1))
    assert facts["valid"] is False
    assert facts["code"] == "wrong_sovereign"


def test_nothing_is_written_elsewhere(chain: Chain) -> None:
    assert not (chain.root / "home").exists()
    assert {path.name for path in chain.root.iterdir()} == {"keys", "data", "output"}
    assert {path.name for path in chain.data.iterdir()} >= {"mesh.db", "validator-1", "logs", "supervisor.json"}


def test_private_keys_are_in_no_log(chain: Chain) -> None:
    secrets = [json.loads(path.read_text())["privateKey"][8:] for path in (chain.root / "keys").iterdir()]
    texts = [path.read_text() for path in [*(chain.data / "logs").iterdir(), chain.root / "output"]]
    assert not any(secret in text for secret in secrets for text in texts)


def test_killed_validator_comes_back_and_the_chain_goes_on(start: Start) -> None:
    chain = start()
    chain.process.wait_for("tana .* ready")
    height = chain.get_height()
    pid = chain.get_pids()["validator-1"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    chain.process.wait_for("validator-1 .*starts again in")
    chain.process.wait_for("validator-1 +validating", times=2)
    chain.wait_height(height + 1)
    assert chain.ask("block", "verify", "--all")["valid"]


def test_stop_from_another_terminal_and_start_again(start: Start) -> None:
    chain = start()
    chain.process.wait_for("tana .* ready")
    pids = chain.get_pids()
    chain.wait_height(1)
    before = chain.ask("block", "show", "1")
    assert "stopped validator-1, mesh" in chain.run("stop", "--data", str(chain.data))
    assert chain.process.wait_end() == 0
    assert not any(pid is not None and read_start_time(pid) for pid in pids.values())
    assert chain.ask("status", "--data", str(chain.data), code=3) == {"running": False, "data": str(chain.data)}
    assert "nothing is running" in chain.run("stop", "--data", str(chain.data))

    again = start()
    again.process.wait_for("tana .* ready", times=2)
    assert again.ask("block", "show", "1") == before
    assert again.process.count("genesis +written") == 1


def test_killed_supervisor_takes_its_children_along(start: Start) -> None:
    chain = start()
    chain.process.wait_for("tana .* ready")
    pids = chain.get_pids()
    assert len(pids) == 2
    chain.process.signal(signal.SIGKILL)
    chain.process.wait_end()
    wait_until(lambda: not any(pid is not None and read_start_time(pid) for pid in pids.values()), "no children")
    chain.run("status", "--data", str(chain.data), code=3)
    start().process.wait_for("tana .* ready", times=2)


def test_without_dev_the_sovereign_does_the_rest(start: Start, tmp_path: Path) -> None:
    keyfiles.write_key(tmp_path / "keys" / "sovereign-key.json", KeyPair.generate())
    chain = start("--hostname", "localhost", "--ip", "127.0.0.1")
    chain.process.wait_for("validator-1 +pending: .*tana mesh approve validator-1")
    chain.process.wait_for("tana .* ready")
    chain.run("mesh", "approve", "validator-1")
    chain.process.wait_for("validator-1 +awaiting_genesis")
    chain.run("genesis", "create")
    chain.process.wait_for("validator-1 +validating")


def test_invalid_folder_in_use(chain: Chain) -> None:
    said = CliRunner().invoke(
        app, ["start", "--dev", "--data", str(chain.data)], env={"TANA_CONFIG_DIR": str(chain.root / "keys")}
    )
    assert said.exit_code == 1
    assert "is already running on" in said.stderr
    assert "tana stop --data" in said.stderr


def test_invalid_taken_port(chain: Chain, tmp_path: Path) -> None:
    port = chain.mesh_url.rpartition(":")[2]
    arguments = ["start", "--dev", "--data", str(tmp_path / "data"), "--mesh-port", port]
    said = CliRunner().invoke(app, arguments, env={"TANA_CONFIG_DIR": str(tmp_path / "keys")})
    assert said.exit_code == 2
    assert f"mesh port {port} is taken" in said.stderr
    assert "--mesh-port" in said.stderr


def test_invalid_lost_sign_state(start: Start) -> None:
    chain = start()
    chain.process.wait_for("tana .* ready")
    chain.run("stop", "--data", str(chain.data))
    chain.process.wait_end()
    (chain.data / "validator-1" / "sign-state").rename(chain.data / "elsewhere")
    again = start()
    assert again.process.wait_end() == 2
    assert "its sign-state is not in" in again.process.output


def test_invalid_start_without_a_sovereign(start: Start) -> None:
    process = start("--hostname", "v", "--ip", "127.0.0.1").process
    assert process.wait_end() == 2
    assert "nobody said who the sovereign is" in process.output


def test_invalid_data_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["start", "--dev", "--data", str(tmp_path / "file" / "data")]
    said = CliRunner().invoke(app, arguments, env={"TANA_CONFIG_DIR": str(tmp_path / "keys")})
    assert said.exit_code == 2
    assert "cannot be written" in said.stderr
