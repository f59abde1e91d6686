"""Newcomer first: a validator that joins proposes next, instead of waiting for its turn."""

from tana.types.validator_set import ValidatorSet
from testbed.planting import Patch

CAUGHT_BY = ("validator_sets", "justified")


def plant(patch: Patch) -> None:
    patch.edit(ValidatorSet, "changed", "-(total + total // 8)", "total")
