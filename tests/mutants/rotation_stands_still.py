"""Rotation stands still: each height begins with the same proposer."""

from tana.types.validator_set import ValidatorSet
from testbed.planting import Patch

CAUGHT_BY = ("justified", "validator_sets")


def plant(patch: Patch) -> None:
    patch.set(ValidatorSet, "advanced", lambda self, steps=1: self)
