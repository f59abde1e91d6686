from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tana.cli import balance, mesh
from tana.cli.group import COMMANDS
from tana.cli.main import app
from tana.node.settings import ENVIRONMENT
from tana.types import errors
from tests.cli.helpers import find_free_port

ROOT = Path(__file__).parents[2]
runner = CliRunner()


def walk_commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group with the words that call it."""
    yield words, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from walk_commands(child, (*words, name))


EVERY_COMMAND = dict(walk_commands(typer.main.get_command(app)))


def test_the_commands_that_people_know_are_there() -> None:
    known = """keys new, keys show, mesh serve, mesh register, mesh approve, mesh deny, mesh status, mesh list,
        mesh topology, genesis create, genesis show, genesis verify, validator run, tx user, tx deposit, tx transfer,
        tx status, balance, block show, block verify, start, stop, status"""
    assert {tuple(words.split()) for words in known.split(",")} <= set(EVERY_COMMAND)


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_help_has_an_example_that_begins_with_the_command(words: tuple[str, ...]) -> None:
    result = runner.invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output
    example = result.output.partition("Example")[2]
    assert f"tana {' '.join(words)}".strip() in example


def test_root_help_tells_the_exit_codes_and_every_command() -> None:
    text = runner.invoke(app, ["--help"]).output
    assert "Exit codes: 0 done; 1 refused" in text
    assert all(f"  {name} " in text for name in COMMANDS)


def test_version() -> None:
    assert runner.invoke(app, ["--version"]).output.startswith("tana 0.")


def test_unknown_command_says_what_was_meant() -> None:
    result = runner.invoke(app, ["staart"])
    assert result.exit_code == 2
    assert "Did you mean 'start'" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInput("it is wrong", remedy="right it"), 1),
        (errors.Forbidden("it is wrong", remedy="right it"), 1),
        (errors.StorageError("it is wrong", remedy="right it"), 1),
        (errors.SettingsError("it is wrong", remedy="right it"), 2),
        (errors.Unavailable("it is wrong", remedy="right it"), 3),
    ],
)
def test_error_is_two_lines_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: errors.TanaError, code: int
) -> None:
    monkeypatch.delenv("TANA_DEBUG", raising=False)
    result = run_failing(monkeypatch, error)
    assert result.exit_code == code
    assert result.stderr == "error: it is wrong\n  → right it\n"


def test_bug_is_one_line_and_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANA_DEBUG", raising=False)
    result = run_failing(monkeypatch, ZeroDivisionError("division by zero"))
    assert result.exit_code == 1
    assert "ZeroDivisionError: division by zero" in result.stderr
    assert "TANA_DEBUG=1" in result.stderr
    assert "Traceback" not in result.stderr


def test_debugging_shows_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANA_DEBUG", "1")
    assert "Traceback" in run_failing(monkeypatch, ZeroDivisionError("x")).stderr
    assert "Traceback" in run_failing(monkeypatch, errors.InvalidInput("x")).stderr


def test_interrupt_is_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_failing(monkeypatch, KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def run_failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Any:
    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("tana.client.keyfiles.get_config_dir", fail)
    return runner.invoke(app, ["keys", "show"])


UNREACHABLE: list[Callable[[str], list[str]]] = [
    lambda url: ["mesh", "list", "--mesh-url", url],
    lambda url: ["mesh", "status", "--mesh-url", url],
    lambda url: ["mesh", "topology", "--mesh-url", url],
    lambda url: ["genesis", "show", "--mesh-url", url],
    lambda url: ["balance", "ed25519_" + "00" * 32, "--ledger-url", url],
    lambda url: ["block", "show", "--ledger-url", url],
    lambda url: ["block", "verify", "--mesh-url", url],
    lambda url: ["tx", "pending", "--ledger-url", url],
    lambda url: ["tx", "status", "00" * 32, "--ledger-url", url],
]


@pytest.mark.parametrize("make", UNREACHABLE)
def test_unreachable_service_is_exit_code_3(make: Callable[[str], list[str]]) -> None:
    result = runner.invoke(app, make(f"http://127.0.0.1:{find_free_port()}"))
    assert result.exit_code == 3, result.output
    assert "does not answer" in result.stderr
    assert "  → " in result.stderr


def test_register_at_no_mesh_leaves_nothing_behind(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    environment = {"TANA_CONFIG_DIR": str(tmp_path / "keys"), "HOME": str(tmp_path / "home")}
    result = runner.invoke(app, ["mesh", "register", "--dev", "--node-id", "v1", "--mesh-url", url], env=environment)
    assert result.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_every_setting_of_a_validator_has_its_flag() -> None:
    flags = {parameter.name for parameter in EVERY_COMMAND["validator", "run"].params}
    assert flags - {"data", "help"} == set(ENVIRONMENT) - {"data_dir"}
    text = runner.invoke(app, ["validator", "run", "--help"]).output
    assert all(f"{variable}]" in text for variable in ENVIRONMENT.values())


def test_mesh_url_comes_from_the_environment() -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    assert url in runner.invoke(app, ["mesh", "list"], env={"MESH_URL": url}).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mesh", "list", "--all", "--status", "active"], "either --all or --status"),
        (["mesh", "list", "--status", "asleep"], "pending, active, offline, denied"),
        (["mesh", "register"], "--node-id"),
        (["mesh", "register", "--node-id", "v", "--hostname", "v.ts.net"], "--ip missing"),
        (["mesh", "register", "--node-id", "v"], "--hostname and --ip missing"),
        (["mesh", "register", "--node-id", "V!", "--dev"], "malformed"),
        (["mesh", "approve", "v", "--sovereign-key", "/nowhere/key.json"], "/nowhere/key.json"),
        (["mesh", "list", "--mesh-url", "ftp://x"], "no URL"),
        (["block", "show", "-1"], "No such option"),
        (["block", "show", "0"], "neither a height"),
        (["block", "verify", "one"], "neither a height"),
        (["tx", "transfer", "@b", "1", "USD"], "--key"),
        (["tx", "transfer", "@b", "1", "USD", "--key", "../x"], "../x"),
        (["balance", "ed25519_12"], "malformed"),
        (["genesis", "verify", "--file", "/nowhere.json"], "/nowhere.json cannot be read"),
        (["start", "--dev", "--port-offset", "-1"], "--port-offset"),
        (["validator", "run", "--log-level", "loud", "--node-id", "v"], "sovereign"),
    ],
)
def test_invalid_usage_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    for name in ("TANA_SOVEREIGN", "MESH_SOVEREIGN"):
        monkeypatch.delenv(name, raising=False)
    result = runner.invoke(app, arguments, env={"TANA_CONFIG_DIR": str(tmp_path / "keys")})
    assert words in result.stderr.replace("\n", " "), result.output
    assert result.exit_code in (1, 2)
    assert not (tmp_path / "keys").exists()


SLOW_TO_IMPORT = ("fastapi", "uvicorn", "httpx", "rich", "pydantic", "docker", "pytest")


@pytest.mark.parametrize("module", ["validator", "mesh"])
def test_services_start_without_the_imports_of_other_commands(module: str) -> None:
    """What `tana validator run` and `tana mesh serve` import before they hand over."""
    code = (
        f"import sys, tana.cli.main, tana.cli.{module}; "
        f"print([name for name in {SLOW_TO_IMPORT!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == "[]\n"


def test_single_commands_are_no_groups() -> None:
    assert not hasattr(typer.main.get_command(balance.app), "commands")
    assert hasattr(typer.main.get_command(mesh.app), "commands")
