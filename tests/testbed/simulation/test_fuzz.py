"""Fuzzing: many seeds are green, a planted bug stops it at its seed, and every option is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tana.types.errors import SettingsError
from tana.types.validator_set import ValidatorSet
from testbed.cli import app
from testbed.simulation.fuzz import FuzzOptions, fuzz, resolve_jobs
from testbed.simulation.schedule import load_schedule


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["fuzz", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("first_seed", range(1000, 1016, 4))
def test_seeds_of_four_nodes(first_seed: int) -> None:
    result = fuzz(FuzzOptions(4, first_seed, heights=15), lambda result: None)
    assert result.failed is None, str(result.failed)


@pytest.mark.parametrize("nodes", [1, 3, 7])
def test_seeds_of_other_sizes(nodes: int) -> None:
    result = fuzz(FuzzOptions(4, 2000, nodes, heights=12), lambda result: None)
    assert result.failed is None, str(result.failed)


def test_processes_find_the_same() -> None:
    calls: list[int] = []
    in_processes = fuzz(FuzzOptions(6, 5, heights=9, jobs=2), lambda result: calls.append(result.seeds))
    here = fuzz(FuzzOptions(6, 5, heights=9), lambda result: None)
    assert (in_processes.steps, in_processes.heights) == (here.steps, here.heights)
    assert calls[-1] == 6


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the power is enough: two halves that do not hear each other fork the chain."""
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: 2 * power >= self.total_power)


def test_a_planted_bug_stops_it_and_leaves_everything_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch)
    code, out, _ = invoke("--seeds", "30", "--heights", "12", "--jobs", "1", "--runs-dir", str(tmp_path))
    assert code == 1
    first, second, again = out.splitlines()
    assert first.startswith("VIOLATED seed ")
    assert "≠" in first
    seed = first.split()[2].rstrip(":")
    assert again == f"again: testbed replay {seed} --nodes 4 --heights 12"
    folder = Path(second.removeprefix("violated: "))
    assert folder.parent == tmp_path
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    assert summary["first_line"] in first
    assert summary["command"] == again.removeprefix("again: ")
    assert set(summary["nodes"]) == {"validator-1", "validator-2", "validator-3", "validator-4"}
    assert summary["violation"]["at_ms"] >= 0
    assert all({"applied_ms", "undone_ms", "evidence"} <= set(fault) for fault in summary["faults"])
    assert summary["recent_events"]
    assert summary["versions"]["python"]
    assert len(load_schedule(folder / "minimal.json").faults) <= len(load_schedule(folder / "schedule.json").faults)
    assert (folder / "story.txt").read_text("utf-8")
    assert {path.name for path in (folder / "logs").iterdir()} >= {"validator-1.log", "interleaved.log", "faults.log"}
    replayed = CliRunner().invoke(app, ["replay", str(folder / "minimal.json")])
    assert replayed.exit_code == 1
    assert "VIOLATED invariant " in replayed.stdout
    assert "events before the violation:" in replayed.stdout


def test_a_planted_bug_is_shrunk_to_a_file_that_replays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch)
    failed = fuzz(FuzzOptions(30, heights=12), lambda result: None).failed
    assert failed is not None
    path = tmp_path / "minimal.json"
    size = ("--heights", "12")
    answer = CliRunner().invoke(app, ["shrink", str(failed.seed), *size, "--out", str(path)])
    assert answer.exit_code == 1
    assert f"again: testbed replay {path}" in answer.stdout
    assert path.read_text("utf-8") in answer.stdout
    assert CliRunner().invoke(app, ["replay", str(path)]).exit_code == 1


def test_replay_tells_the_same_story_with_the_same_trace() -> None:
    stories = [CliRunner().invoke(app, ["replay", "14", "--heights", "12"]) for _ in range(2)]
    assert stories[0].exit_code == 0
    assert stories[0].stdout == stories[1].stdout
    lines = stories[0].stdout.splitlines()
    assert lines[0].startswith("seed 14: 4 nodes, 12 heights")
    assert lines[-2].endswith("the same in two interpreters")
    closely = CliRunner().invoke(app, ["replay", "14", "--heights", "12", "--height", "3"]).stdout
    assert "prevotes" in closely


def test_replay_in_json() -> None:
    answer = CliRunner().invoke(app, ["replay", "3", "--heights", "9", "--json"])
    facts = json.loads(answer.stdout)
    assert (facts["verdict"], facts["seed"], facts["is_same_again"]) == ("proven", 3, True)
    assert facts["story"]


def test_invalid_replay_of_what_is_neither_folder_nor_seed_nor_file(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["replay", str(tmp_path / "absent")])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "the schedule cannot be read" in answer.stderr


def test_invalid_shrink_of_a_seed_that_violates_nothing(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["shrink", "3", "--heights", "6", "--out", str(tmp_path / "file.json")])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "3 violates nothing" in answer.stderr
    assert not (tmp_path / "file.json").exists()


def test_json_is_the_result_and_nothing_else() -> None:
    code, out, err = invoke("--seeds", "2", "--heights", "6", "--jobs", "1", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["verdict"], facts["seeds"], facts["failed_seed"]) == ("proven", 2, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seeds", "0"), "--seeds is 0"),
        (("--nodes", "99"), "--nodes is 99"),
        (("--heights", "1"), "--heights is 1"),
        (("--jobs", "many"), "--jobs is 'many'"),
        (("--jobs", "0"), "--jobs is '0'"),
    ],
)
def test_invalid_options(arguments: tuple[str, str], words: str) -> None:
    code, out, err = invoke(*arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_invalid_jobs_have_a_remedy() -> None:
    with pytest.raises(SettingsError, match="give a number of processes, or auto"):
        resolve_jobs("-3")
    assert resolve_jobs("auto") >= 1
