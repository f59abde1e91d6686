"""Quorum arithmetic: what nodes' validator sets answer is what stands in a table written out by hand."""

from __future__ import annotations

from tana.types.validator_set import Validator, ValidatorSet
from testbed.invariants.base import Invariant
from testbed.invariants.facts import Begin, NodeFacts
from testbed.needs import STEPS

EQUAL = {
    # validators: (quorum, faults tolerated)
    1: (1, 0),
    2: (2, 0),
    3: (3, 0),
    4: (3, 1),
    5: (4, 1),
    6: (5, 1),
    7: (5, 2),
    8: (6, 2),
    9: (7, 2),
    10: (7, 3),
}
WEIGHTED = {
    # powers: (quorum, faulty power tolerated)
    (1, 1, 1, 3): (5, 1),
    (1, 1, 2, 2): (5, 1),
    (1, 2, 3, 4): (7, 3),
    (10, 1, 1, 1): (9, 4),
    (5, 5, 5, 1): (11, 5),
    (100, 100, 100, 100): (267, 133),
    (7, 2): (7, 2),
    (2, 1): (3, 0),
    (34, 33, 33): (67, 33),
    (33, 33, 33): (67, 32),
    (3333, 3333, 3334): (6667, 3333),
    (2**40, 1, 1): (733_007_751_853, 366_503_875_925),
}


class Quorum(Invariant):
    number = 6
    name = "quorum"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._judged: set[tuple[int, ...]] = set()

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        if not self._judged:
            self._judge_table(node, begin)
        powers = tuple(power for _, power, _, _ in begin.validators.to_rows())
        if powers not in self._judged:
            self._judged.add(powers)
            total = sum(powers)
            expected = EQUAL.get(total) or WEIGHTED.get(powers) or (total - (total - 1) // 3, (total - 1) // 3)
            self._judge(node, begin.validators, powers, expected)

    def _judge_table(self, node: NodeFacts, begin: Begin) -> None:
        """The whole table, asked of sets of the class that this node's set is of."""
        rows = [((1,) * count, expected) for count, expected in EQUAL.items()]
        for powers, expected in [*rows, *WEIGHTED.items()]:
            self._judged.add(powers)
            members = [Validator(bytes([i]) * 32, power, f"v{i}") for i, power in enumerate(powers)]
            self._judge(node, type(begin.validators).create(members), powers, expected)

    def _judge(
        self, node: NodeFacts, validators: ValidatorSet, powers: tuple[int, ...], expected: tuple[int, int]
    ) -> None:
        quorum, tolerated = expected
        answers = {
            f"quorum_power {validators.quorum_power}": validators.quorum_power == quorum,
            f"is_quorum({quorum}) {validators.is_quorum(quorum)}": validators.is_quorum(quorum),
            f"is_quorum({quorum - 1}) {validators.is_quorum(quorum - 1)}": not validators.is_quorum(quorum - 1),
            f"is_one_third({tolerated + 1}) {validators.is_one_third(tolerated + 1)}": validators.is_one_third(
                tolerated + 1
            ),
            f"is_one_third({tolerated}) {validators.is_one_third(tolerated)}": not validators.is_one_third(tolerated),
        }
        for answer, is_right in answers.items():
            if not is_right:
                self.violate(
                    f"{node.name}: powers {_describe(powers)} answer {answer}"
                    f" ≠ a quorum of {quorum} and {tolerated} tolerated, by hand",
                    node.name,
                    powers=powers,
                )

    def find_missing(self) -> str:
        return "" if self._judged else "no correct node began"

    def summarize(self) -> str:
        return f"{len(self._judged)} distributions of power as written out by hand"


def _describe(powers: tuple[int, ...]) -> str:
    return ", ".join(str(power) for power in powers)
