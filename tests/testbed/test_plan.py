"""Keys from the seed, and the quorum arithmetic against a table written out by hand."""

from __future__ import annotations

import pytest

from testbed.plan import compute_expectation, make_key, make_plan
from testbed.ports import Ports
from testbed.scenario import load_scenario
from tests.testbed.forging import CONVERGE

PORTS = [Ports(1, 2, 3, 4)] * 3


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


def test_timeline_of_the_default_scenario() -> None:
    plan = make_plan(load_scenario(CONVERGE), 1, 8190, PORTS)
    assert [(window.fault, window.progress) for window in plan.timeline] == [
        ("heartbeat_stopped", "must"),
        ("kill", "must_not"),
    ]
    assert plan.timeline[1].why == "power 2 of 3 is left, not more than two thirds"


def test_timeline_counts_what_faults_take_away() -> None:
    timeline = make_plan(load_scenario(CONVERGE.parent / "container-faults.toml"), 1, 8190, PORTS).timeline
    partitions = [(window.node, window.broken, window.progress) for window in timeline if window.fault == "partition"]
    assert partitions == [("validator-1", ("validator-1",), "must_not"), ("validator-2", (), "must")]
    timeline = make_plan(load_scenario(CONVERGE.parent / "sidecar-faults.toml"), 1, 8190, PORTS).timeline
    assert {window.fault: (window.node, window.progress) for window in timeline} == {
        "sidecar_stopped": ("validator-3", "must_not"),
        "sidecar_restarted": ("validator-2", "must"),
        "control_down": ("headscale", "must"),
        "direct_path_blocked": ("validator-1", "must"),
        "key_expired": ("validator-2", "must_not"),
    }


def test_keys_come_from_the_seed() -> None:
    scenario = load_scenario(CONVERGE)
    first, again, other = (make_plan(scenario, seed, 8190, PORTS) for seed in (1, 1, 2))
    assert first == again
    keys = {key for plan in (first, other) for key in (plan.sovereign, plan.outsider, *(n.key for n in plan.nodes))}
    assert len(keys) == 10, "every role of every seed has a key of its own"
    assert make_key(1, "sovereign") == first.sovereign
