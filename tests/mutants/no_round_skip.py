"""No round skip: a node does not follow others into a later round, it walks there round by round (L55)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("justified",)


def plant(patch: Patch) -> None:
    patch.set(Tendermint, "_try_skip_round", lambda self: False)
