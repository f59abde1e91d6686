from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tana.cli.main import app
from tana.client.keyfiles import read_key

runner = CliRunner()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANA_CONFIG_DIR", str(tmp_path))
    return tmp_path


def test_new_key_is_written_and_only_its_public_part_printed(folder: Path) -> None:
    result = runner.invoke(app, ["keys", "new", "sovereign"])
    assert result.exit_code == 0
    keypair = read_key(folder / "sovereign-key.json")
    assert f"tana mesh serve --sovereign {keypair.public_text}" in result.output
    assert keypair.seed.hex() not in result.output


def test_show_names_address_and_file_and_never_the_private_key(folder: Path) -> None:
    runner.invoke(app, ["keys", "new", "alice"])
    keypair = read_key(folder / "alice-key.json")
    for arguments in (["keys", "show", "alice"], ["keys", "show", str(folder / "alice-key.json")], ["keys", "show"]):
        for extra in ([], ["--json"]):
            result = runner.invoke(app, [*arguments, *extra])
            assert result.exit_code == 0
            assert keypair.public_text in result.output
            assert keypair.seed.hex() not in result.output
    shown = json.loads(runner.invoke(app, ["keys", "show", "alice", "--json"]).output)
    assert set(shown) == {"publicKey", "address", "testAddress", "file"}


def test_list_survives_a_damaged_file(folder: Path) -> None:
    (folder / "bob-key.json").write_text("{")
    runner.invoke(app, ["keys", "new", "alice"])
    result = runner.invoke(app, ["keys", "show"])
    assert result.exit_code == 0
    assert "bob-key.json" in result.output
    assert "not JSON" in result.output


def test_no_keys_says_how_to_make_one() -> None:
    assert "tana keys new" in runner.invoke(app, ["keys", "show"]).output


def test_existing_key_needs_force(folder: Path) -> None:
    runner.invoke(app, ["keys", "new", "alice"])
    before = read_key(folder / "alice-key.json")
    result = runner.invoke(app, ["keys", "new", "alice"])
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert read_key(folder / "alice-key.json") == before
    assert runner.invoke(app, ["keys", "new", "alice", "--force"]).exit_code == 0
    assert read_key(folder / "alice-key.json") != before


def test_out_writes_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "bob.json"
    assert runner.invoke(app, ["keys", "new", "--out", str(path)]).exit_code == 0
    assert read_key(path)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["a", "--out", "b.json"]])
def test_invalid_choice_of_a_place(arguments: list[str]) -> None:
    assert runner.invoke(app, ["keys", "new", *arguments]).exit_code == 2


@pytest.mark.parametrize("name", ["../evil", "Alice", "a/b"])
def test_invalid_name(name: str, folder: Path) -> None:
    result = runner.invoke(app, ["keys", "new", name])
    assert result.exit_code == 2
    assert "is malformed" in result.stderr
    assert list(folder.iterdir()) == []


def test_missing_key_says_how_to_make_it() -> None:
    result = runner.invoke(app, ["keys", "show", "carol"])
    assert result.exit_code == 2
    assert "tana keys new carol" in result.stderr
