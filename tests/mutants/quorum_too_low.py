"""Quorum one too low: two of four suffice."""

from tana.types.validator_set import ValidatorSet
from testbed.planting import Patch

CAUGHT_BY = ("agreement", "certificates", "quorum", "justified", "no_quorum")


def plant(patch: Patch) -> None:
    patch.set(ValidatorSet, "is_quorum", lambda self, power: 3 * (power + 1) > 2 * self.total_power)
