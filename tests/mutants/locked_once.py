"""Locked once: whoever is locked precommits what a later polka is for, and keeps its first lock (L38)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("lock_rule",)


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_try_polka",
        "            self.locked_hash, self.locked_round = block_hash, self.round",
        "            if self.locked_hash is None:\n"
        "                self.locked_hash, self.locked_round = block_hash, self.round",
    )
