"""Exactly two thirds: a quorum is at least two thirds of the power, and not more than that."""

from tana.types.validator_set import ValidatorSet
from testbed.planting import Patch

CAUGHT_BY = ("certificates", "quorum", "justified", "no_quorum")


def plant(patch: Patch) -> None:
    patch.set(ValidatorSet, "is_quorum", lambda self, power: 3 * power >= 2 * self.total_power)
