"""Fuzzing: many seeds are green, a planted bug stops it at its seed, and every option is checked."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tana.types.errors import SettingsError
from tana.types.validator_set import ValidatorSet
from testbed.cli import app
from testbed.simulation.fuzz import FuzzOptions, fuzz, resolve_jobs


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["fuzz", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("first_seed", range(1000, 1032, 8))
def test_seeds_of_four_nodes(first_seed: int) -> None:
    result = fuzz(FuzzOptions(8, first_seed, heights=20), lambda result: None)
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


def test_a_planted_bug_stops_it_and_names_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: 3 * power >= 2 * self.total_power - 2)
    code, out, _ = invoke("--seeds", "30", "--heights", "20", "--jobs", "1")
    assert code == 1
    first, again = out.splitlines()
    assert first.startswith("VIOLATED seed ")
    assert "quorum" in first or "≠" in first
    assert again.startswith("again: testbed replay ")
    assert again.endswith("--nodes 4 --heights 20")


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
