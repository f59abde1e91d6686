"""Future votes unbounded: votes of any round ahead are kept, from everybody."""

from tana.consensus.votes import HeightVotes
from testbed.planting import Patch

CAUGHT_BY = ("memory",)


def plant(patch: Patch) -> None:
    patch.edit(HeightVotes, "_admit_future", "if len(rounds) >= MAX_FUTURE_ROUNDS:", "if False:")
