"""The `testbed` command: what it lists, and what its exit codes mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tana.types.errors import SettingsError, Unavailable
from testbed.backends import choice, simulation
from testbed.checkers import CHECKERS
from testbed.cli import app
from testbed.faults import FAULTS
from testbed.runner import run as run_module
from testbed.runner.run import Options, Result
from tests.testbed.forging import CONVERGE
from tests.testbed.test_planted import NoHeartbeat, plant

SIMULATION = ["--backend", "simulation"]


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_list_names_everything() -> None:
    code, out, _ = invoke("list", "--scenarios", str(CONVERGE.parent))
    assert code == 0
    for name in ("converge.toml", "processes", "simulation", *FAULTS, *(checker.name for checker in CHECKERS)):
        assert name in out


def test_list_names_an_unusable_scenario(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("oops", "utf-8")
    _, out, _ = invoke("list", "--scenarios", str(tmp_path))
    assert "unusable" in out


def test_invalid_list_of_no_folder(tmp_path: Path) -> None:
    code, _, err = invoke("list", "--scenarios", str(tmp_path / "nowhere"))
    assert code == 2
    assert "nowhere is no folder" in err


def test_invalid_fuzz_into_a_file(tmp_path: Path) -> None:
    """It is said before hours of seeds, not when one has failed."""
    (tmp_path / "runs").write_text("", "utf-8")
    code, _, err = invoke("fuzz", "--seeds", "1", "--heights", "3", "--jobs", "1", "--runs-dir", str(tmp_path / "runs"))
    assert code == 2
    assert "cannot be written" in err


def test_proven_exits_0(tmp_path: Path) -> None:
    code, out, _ = invoke("run", str(CONVERGE), *SIMULATION, "--runs-dir", str(tmp_path))
    assert code == 0
    assert out.splitlines()[0].startswith("[ 1/13] start")
    assert out.splitlines()[-1].startswith("proven: ")


def test_json_is_the_summary_and_nothing_else(tmp_path: Path) -> None:
    code, out, _ = invoke("run", str(CONVERGE), *SIMULATION, "--runs-dir", str(tmp_path), "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary == json.loads((tmp_path / "latest" / "summary.json").read_text("utf-8"))


def test_violated_exits_1_and_the_first_line_of_the_end_names_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "validator-2", NoHeartbeat)
    code, out, _ = invoke("run", str(CONVERGE), *SIMULATION, "--runs-dir", str(tmp_path), "--seed", "4")
    assert code == 1
    lines = [line for line in out.splitlines() if not line.startswith("[")]
    assert lines[0].startswith("VIOLATED heartbeats: validator-2 has sent no heartbeat since approval")
    assert lines[-2] == f"again: testbed run {CONVERGE} --backend simulation --seed 4"


def test_invalid_scenario_exits_2_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(CONVERGE.read_text("utf-8").replace("validators = 3", "validators = 3\nshape = 1"), "utf-8")
    code, out, err = invoke("run", str(path), *SIMULATION, "--runs-dir", str(tmp_path / "runs"))
    assert (code, out) == (2, "")
    assert "bad.toml:5: shape is not a field that scenarios have" in err
    assert not (tmp_path / "runs").exists()


def test_invalid_backend_exits_2(tmp_path: Path) -> None:
    code, _, err = invoke("run", str(CONVERGE), "--backend", "paper", "--runs-dir", str(tmp_path))
    assert code == 2
    assert "there is no backend 'paper' (use one of docker, processes, simulation)" in err


def test_invalid_runs_folder_exits_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    code, _, err = invoke("run", str(CONVERGE), *SIMULATION, "--runs-dir", str(tmp_path / "file"))
    assert code == 2
    assert "cannot be written" in err


def test_a_bug_of_the_testbed_exits_2_and_leaves_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(node: str, disk: object) -> None:
        raise RuntimeError("a bug of the testbed")

    monkeypatch.setattr(simulation, "make_hooks", fail)
    code, out, _ = invoke("run", str(CONVERGE), *SIMULATION, "--runs-dir", str(tmp_path))
    assert code == 2
    assert "could not tell run: the testbed itself failed: RuntimeError('a bug of the testbed')" in out
    assert "Traceback" in (tmp_path / "latest" / "logs" / "testbed.log").read_text("utf-8")


def test_an_engine_without_images_is_passed_over_by_auto_and_named_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run_without_images(options: Options) -> Result:
        asked.append(options.backend)
        if options.backend == "docker":
            raise Unavailable("the image cannot be built: no such host", code=choice.NO_IMAGE)
        raise SettingsError("far enough")

    monkeypatch.setattr(run_module, "run", run_without_images)
    monkeypatch.setattr(choice, "choose_backend", lambda backend, network: ("docker", "tailnet", ""))
    answer = CliRunner().invoke(app, ["run", "--backend", "auto"])
    assert asked == ["docker", "processes"]
    assert "plain processes after all, as the image cannot be built" in answer.stderr
    answer = CliRunner().invoke(app, ["run", "--backend", "docker"])
    assert asked == ["docker", "processes", "docker"]
    assert (answer.exit_code, "cannot be built" in answer.stderr) == (2, True)


def test_replay_tells_the_story_and_exits_as_run_does(tmp_path: Path) -> None:
    invoke("run", str(CONVERGE), *SIMULATION, "--runs-dir", str(tmp_path))
    folder = tmp_path / "latest"
    code, out, _ = invoke("replay", str(folder))
    assert code == 0
    assert "begins at height 0" in out.splitlines()[0]
    assert out.splitlines()[-1].startswith("proven: 16 invariants hold")
    code, out, _ = invoke("replay", str(folder), "--height", "3", "--json")
    told = json.loads(out)
    assert (code, told["verdict"], told["divergence"]) == (0, "proven", None)
    assert {line["height"] for line in told["story"]} == {3}
    (folder / "journals" / "validator-2.journal").unlink()
    code, out, _ = invoke("replay", str(folder))
    assert code == 2
    assert "could not tell invariant 1 agreement: validator-2 has no journal" in out


def test_replay_of_a_violated_run_shows_what_was_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("run", str(CONVERGE), *SIMULATION, "--runs-dir", str(tmp_path))
    monkeypatch.setattr("testbed.invariants.facts.SetFacts.get_proposer", lambda self, round: self.rows[0][0])
    code, out, _ = invoke("replay", str(tmp_path / "latest"))
    assert code == 1
    lines = out.splitlines()
    around = next(index for index, line in enumerate(lines) if line.startswith("around "))
    assert any("proposes" in line for line in lines[around:])
    assert any(line.startswith("VIOLATED invariant 9 justified: ") for line in lines)


def test_replay_of_no_run_exits_2(tmp_path: Path) -> None:
    code, _, error = invoke("replay", str(tmp_path))
    assert code == 2
    assert "has no history.jsonl" in error
    (tmp_path / "history.jsonl").write_text('{"kind":"run","seed":1,"validators":[],"start_ms":0,"traitors":[]}\n')
    code, out, _ = invoke("replay", str(tmp_path))
    assert code == 2
    assert "has no journals" in out


@pytest.mark.parametrize(
    "command", sorted(command.callback.__name__ for command in app.registered_commands if command.callback)
)
def test_every_command_shows_an_example(command: str) -> None:
    name = "list" if command == "list_parts" else command
    code, out, _ = invoke(name, "--help")
    assert code == 0
    assert f"  testbed {name} " in out or f"  testbed {name}\n" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("replay 1 --heights 5 --node validator-9", "--node validator-9: there is no such node"),
        ("replay 1 --heights 5 --height -4", "--height is -4"),
        ("replay nowhere", "cannot be read: No such file or directory (give a run's folder, a seed, or a file"),
        ("shrink 1 --nodes 0", "--nodes is 0"),
        ("fuzz --seeds 0", "--seeds is 0"),
        ("fuzz --jobs many", "--jobs is 'many'"),
        ("twins --rounds 0", "--rounds is 0"),
        ("twins --seeds -3", "--seeds is -3"),
        ("twins --jobs \u00b2", "--jobs is '\u00b2'"),
        ("mutants --only nix", "there is no such mutant"),
        ("mutants --limit-s nan", "--limit-s is nan"),
        ("mutants --limit-s -1", "--limit-s is -1.0"),
    ],
)
def test_invalid_option_exits_2(arguments: str, words: str) -> None:
    code, out, err = invoke(*arguments.split())
    assert (code, out) == (2, "")
    assert words in err
