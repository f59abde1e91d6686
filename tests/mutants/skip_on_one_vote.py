"""Skip on one vote: a single validator that is ahead takes everybody into its round (L55)."""

from tana.consensus.votes import HeightVotes
from testbed.planting import Patch

CAUGHT_BY = ("justified",)


def plant(patch: Patch) -> None:
    patch.edit(HeightVotes, "find_skip_round", "if self._validators.is_one_third(power):", "if True:")
