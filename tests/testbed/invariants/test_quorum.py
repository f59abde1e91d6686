from __future__ import annotations

import pytest

from tana.types.validator_set import ValidatorSet
from testbed.invariants.quorum import EQUAL, WEIGHTED, Quorum
from tests.testbed.tracing import Stage, make_validators


@pytest.mark.parametrize("powers", [(1, 1, 1), (1, 1, 1, 1), (1, 2, 3, 4), (5, 9, 30)])
def test_the_sets_of_nodes_are_accepted(powers: tuple[int, ...]) -> None:
    Stage(Quorum(), powers=powers).assert_proven("distributions of power")


def test_the_table_says_what_quorums_are_for() -> None:
    """Two quorums meet in a correct validator, and all correct ones together are a quorum."""
    for powers, (quorum, tolerated) in [*(((1,) * n, row) for n, row in EQUAL.items()), *WEIGHTED.items()]:
        total = sum(powers)
        assert 2 * quorum - total > tolerated
        assert total - tolerated >= quorum
        assert 3 * quorum > 2 * total >= 3 * (quorum - 1)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("is_quorum", lambda self, power: 3 * power >= 2 * self.total_power),
        ("is_quorum", lambda self, power: 2 * power > self.total_power),
        ("is_one_third", lambda self, power: 3 * power > self.total_power + 3),
        ("quorum_power", property(lambda self: 2 * self.total_power // 3)),
    ],
)
def test_wrong_arithmetic_is_rejected(name: str, wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, name, wrong)
    Stage(Quorum()).assert_violated("by hand")


def test_a_set_outside_the_table_is_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    powers = (5, 9, 30)
    right = ValidatorSet.is_quorum
    odd = make_validators(powers).total_power
    monkeypatch.setattr(
        ValidatorSet, "is_quorum", lambda self, power: right(self, power) or (self.total_power == odd and power > 28)
    )
    Stage(Quorum(), powers=powers).assert_violated("powers 5, 9, 30")
