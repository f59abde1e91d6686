"""Block bytes not durable before the precommit: the log holds the vote and not what it is for."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("justified", "alive")


def plant(patch: Patch) -> None:
    patch.set(Tendermint, "_log_block", lambda self, block: None)
