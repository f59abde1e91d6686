"""Wrong proposer: the rotation gives each round to whom the next one belongs."""

from tana.types.validator_set import Validator, ValidatorSet
from testbed.planting import Patch

CAUGHT_BY = ("justified",)


def plant(patch: Patch) -> None:
    get_proposer = ValidatorSet.get_proposer

    def get_next(self: ValidatorSet, round: int) -> Validator:
        return get_proposer(self, round + 1)

    patch.set(ValidatorSet, "get_proposer", get_next)
