"""Late polka ignored: who precommitted nil before it saw the polka forgets the block, and proposes another (L42)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("lock_rule",)


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_try_polka",
        "self.valid_hash, self.valid_round = block_hash, self.round",
        "self.valid_hash, self.valid_round = self.locked_hash, self.locked_round",
    )
