"""Triggers: each condition narrows, chance is drawn from the seed alone."""

from __future__ import annotations

import pytest

from testbed.byzantine import BEHAVIOURS, Behaviour, Trigger
from tests.testbed.byzantine.test_outcomes import feed
from tests.testbed.byzantine.traitors import TraitorNet


@pytest.mark.parametrize(
    ("trigger", "on", "off"),
    [
        (Trigger(heights=(3, 5)), (3, 0, 0), (4, 0, 0)),
        (Trigger(rounds=(1,)), (9, 1, 0), (9, 0, 0)),
        (Trigger(from_ms=100), (1, 0, 100), (1, 0, 99)),
        (Trigger(to_ms=100), (1, 0, 99), (1, 0, 100)),
        (Trigger(heights=(3,), rounds=(1,)), (3, 1, 0), (3, 0, 0)),
    ],
)
def test_conditions(trigger: Trigger, on: tuple[int, int, int], off: tuple[int, int, int]) -> None:
    assert trigger.is_on("seed", *on)
    assert not trigger.is_on("seed", *off)
    assert not trigger.is_certain


def test_always() -> None:
    assert Trigger().is_certain
    assert Trigger().is_on("seed", 1, 0, 0)


def test_chance_is_drawn_from_the_seed_once_for_each_slot() -> None:
    trigger = Trigger(probability=0.3)
    draws = [trigger.is_on("seed", height, 0, 0) for height in range(1000)]
    assert draws == [trigger.is_on("seed", height, 0, 99) for height in range(1000)]
    assert 200 < sum(draws) < 400
    assert draws != [trigger.is_on("other", height, 0, 0) for height in range(1000)]


def test_a_traitor_lies_at_its_heights_only() -> None:
    liar = BEHAVIOURS["double_prevote"](Trigger(heights=(2, 4)))
    net = TraitorNet(4, {3: liar})
    feed(net, 5)
    for node in net.correct:
        assert {report.fields["height"] for report in node.reports if report.name == "equivocation"} == {2, 4}
    assert {report.fields["height"] for report in net.nodes[3].reports if report.name == "lied"} == {2, 4}
    assert isinstance(liar, Behaviour)
