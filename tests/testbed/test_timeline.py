"""What each fault must do to the chain: the quorum arithmetic against a table written out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.scenario import Scenario, load_scenario, parse_scenario
from testbed.timeline import FaultWindow, compute_expectation, make_timeline
from tests.testbed.forging import CONVERGE


@pytest.mark.parametrize(
    ("validators", "broken", "progress"),
    [
        (1, 0, "must"),
        (1, 1, "must_not"),
        (2, 0, "must"),
        (2, 1, "must_not"),
        (3, 0, "must"),
        (3, 1, "must_not"),
        (4, 1, "must"),
        (4, 2, "must_not"),
        (5, 1, "must"),
        (5, 2, "must_not"),
        (6, 1, "must"),
        (6, 2, "must_not"),
        (7, 2, "must"),
        (7, 3, "must_not"),
        (10, 3, "must"),
        (10, 4, "must_not"),
    ],
)
def test_expectation_with_equal_powers(validators: int, broken: int, progress: str) -> None:
    powers = {f"validator-{number}": 1 for number in range(validators)}
    assert compute_expectation(powers, list(powers)[:broken])[0] == progress


@pytest.mark.parametrize(
    ("powers", "broken", "progress"),
    [
        ((1, 1, 4), (2,), "must_not"),
        ((1, 1, 4), (0,), "must"),
        ((1, 1, 4), (0, 1), "must_not"),  # 4 of 6 is exactly two thirds: not more
        ((1, 1, 5), (0, 1), "must"),
    ],
)
def test_expectation_with_weights(powers: tuple[int, ...], broken: tuple[int, ...], progress: str) -> None:
    named = {str(number): power for number, power in enumerate(powers)}
    assert compute_expectation(named, [str(number) for number in broken])[0] == progress


def compute_timeline(scenario: Scenario) -> tuple[FaultWindow, ...]:
    return make_timeline(scenario.node_ids, scenario.get_powers(), scenario.steps)


def read_timeline(path: Path) -> tuple[FaultWindow, ...]:
    return compute_timeline(load_scenario(path))


def test_timeline_of_the_default_scenario() -> None:
    timeline = read_timeline(CONVERGE)
    assert [(window.fault, window.progress) for window in timeline] == [
        ("heartbeat_stopped", "must"),
        ("kill", "must_not"),
    ]
    assert timeline[1].why == "power 2 of 3 is left, not more than two thirds"


def test_timeline_counts_what_faults_take_away() -> None:
    timeline = read_timeline(CONVERGE.parent / "container-faults.toml")
    partitions = [(window.node, window.broken, window.progress) for window in timeline if window.fault == "partition"]
    assert partitions == [("validator-1", ("validator-1",), "must_not"), ("validator-2", (), "must")]
    timeline = read_timeline(CONVERGE.parent / "sidecar-faults.toml")
    assert {window.fault: (window.node, window.progress) for window in timeline} == {
        "sidecar_stopped": ("validator-3", "must_not"),
        "sidecar_restarted": ("validator-2", "must"),
        "control_down": ("headscale", "must"),
        "direct_path_blocked": ("validator-1", "must"),
        "key_expired": ("validator-2", "must_not"),
    }


@pytest.mark.parametrize(
    ("validators", "broken", "traitors", "progress"),
    [
        (3, 0, 1, "may"),
        (3, 1, 1, "must_not"),
        (4, 0, 1, "must"),
        (4, 1, 1, "must"),
        (4, 0, 2, "may"),
        (4, 2, 2, "must_not"),
        (7, 0, 2, "must"),
        (7, 2, 2, "must"),
        (7, 0, 3, "may"),
        (7, 3, 3, "must_not"),
    ],
)
def test_expectation_with_traitors(validators: int, broken: int, traitors: int, progress: str) -> None:
    powers = {f"validator-{number}": 1 for number in range(validators)}
    assert compute_expectation(powers, list(powers)[:broken], list(powers)[:traitors])[0] == progress


def plan_lies(validators: int, *steps: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """What must happen in each window: progress, who is broken, who is punished."""
    head = f'name = "x"\ndescription = "x"\nvalidators = {validators}\n'
    ready = ('do = "start"', 'do = "approve"', 'do = "genesis"')
    text = head + "".join(f"[[steps]]\n{step}\n" for step in (*ready, *steps))
    timeline = compute_timeline(parse_scenario(text, "x.toml"))
    return [(window.progress, window.broken, window.guilty) for window in timeline]


def lie(behaviour: str, *nodes: str, more: str = "") -> str:
    return f'do = "byzantine"\nbehaviour = "{behaviour}"\nnodes = {list(nodes)}\n{more}'.replace("'", '"')


KILL = 'do = "perturb"\nfault = "kill"\nnode = "validator-1"'


def test_who_is_punished_has_no_power_from_then_on() -> None:
    windows = plan_lies(4, lie("double_prevote", "validator-4"), KILL)
    assert windows == [("must", (), ("validator-4",)), ("must_not", ("validator-1",), ())]
    assert plan_lies(4, KILL) == [("must", ("validator-1",), ())]


def test_who_may_have_been_punished_makes_nothing_certain() -> None:
    assert [progress for progress, _, _ in plan_lies(3, lie("double_prevote", "validator-3"), KILL)] == [
        "may",
        "must_not",
    ]
    silent = lie("silent", "validator-3")
    assert [progress for progress, _, _ in plan_lies(3, lie("double_prevote", "validator-3"), silent)] == ["may"] * 2


def test_who_withholds_now_and_then_only_may_as_well_be_there() -> None:
    assert plan_lies(3, lie("silent", "validator-3"))[0][0] == "must_not"
    assert plan_lies(3, lie("silent", "validator-3", more="probability = 0.5"))[0][0] == "may"
