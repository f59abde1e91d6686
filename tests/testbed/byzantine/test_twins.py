"""Twins: the scenarios are all there, each once; none of a slice of them breaks safety or stands still."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tana.types.validator_set import ValidatorSet
from testbed.byzantine.twins import count_scenarios, draw_number, list_partitions, make_scenario, run_scenario
from testbed.cli import app

SLICE = 41
"""Every so many of the scenarios of two rounds run in the tests; it shares no factor with their number."""


def test_partitions_are_all_there() -> None:
    # Stirling numbers of the second kind: S(5,1), + S(5,2), + S(5,3).
    assert [len(list_partitions(groups)) for groups in (1, 2, 3)] == [1, 1 + 15, 1 + 15 + 25]
    for groups in (2, 3):
        assert len(set(list_partitions(groups))) == len(list_partitions(groups))


def test_scenarios_are_all_there_each_once() -> None:
    count = count_scenarios(2, 2)
    assert count == 4 * 16**2
    assert len({make_scenario(number, 2, 2) for number in range(count)}) == count


def test_no_such_scenario() -> None:
    with pytest.raises(AssertionError, match="no such scenario"):
        make_scenario(count_scenarios(2, 2), 2, 2)


@pytest.mark.parametrize("number", range(0, count_scenarios(2, 2), SLICE))
def test_two_rounds(number: int) -> None:
    scenario = make_scenario(number, 2, 2)
    outcome = run_scenario(number, scenario)
    assert not outcome.violation, scenario.describe()


@pytest.mark.parametrize("seed", range(10))
def test_random_splits_of_four_rounds_into_three_groups(seed: int) -> None:
    scenario = make_scenario(draw_number(seed, 4, 3), 4, 3)
    outcome = run_scenario(seed, scenario)
    assert not outcome.violation, scenario.describe()


def test_a_split_leader_is_seen_to_contradict_itself() -> None:
    outcomes = [run_scenario(number, make_scenario(number, 1, 2)) for number in range(count_scenarios(1, 2))]
    assert any(outcome.is_split for outcome in outcomes)
    assert not any(outcome.violation for outcome in outcomes)


def test_a_quorum_one_too_low_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: 3 * power >= 2 * self.total_power - 2)
    violations = [run_scenario(number, make_scenario(number, 1, 2)).violation for number in range(0, 64, 3)]
    assert any(violations)


def test_same_scenario_same_outcome() -> None:
    number = draw_number(3, 3, 3)
    assert run_scenario(0, make_scenario(number, 3, 3)) == run_scenario(0, make_scenario(number, 3, 3))


class TestCommand:
    def test_one_scenario_is_told(self) -> None:
        result = CliRunner().invoke(app, ["twins", "--rounds", "1", "--only", "5"])
        assert result.exit_code == 0
        assert result.stdout.startswith("validator-2 has a twin; round 0: ")
        assert "nothing violated" in result.stdout

    def test_some_at_random(self) -> None:
        result = CliRunner().invoke(app, ["twins", "--rounds", "1", "--seeds", "20", "--jobs", "1"])
        assert result.exit_code == 0
        assert "nothing violated: 20 scenarios" in result.stdout

    @pytest.mark.parametrize(
        "option", [("--rounds", "0"), ("--rounds", "11"), ("--groups", "6"), ("--only", "1024"), ("--jobs", "none")]
    )
    def test_invalid_options(self, option: tuple[str, str]) -> None:
        result = CliRunner().invoke(app, ["twins", *option])
        assert result.exit_code == 2
        assert f"could not tell: {option[0]} is" in result.stderr
