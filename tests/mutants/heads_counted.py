"""Heads counted: every validator weighs the same, whatever its power."""

from tana.types.validator_set import ValidatorSet
from testbed.planting import Patch

CAUGHT_BY = ("certificates", "quorum", "justified", "no_quorum")


def plant(patch: Patch) -> None:
    def get_power(self: ValidatorSet, public_key: bytes) -> int:
        return -(-self.total_power // len(self)) if public_key in self.members.powers else 0

    patch.set(ValidatorSet, "get_power", get_power)
