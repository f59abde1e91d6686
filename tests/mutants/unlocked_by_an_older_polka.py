"""Unlocked by an older polka: any polka frees from a lock, that of a round before the lock too (L28)."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("lock_rule",)


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_try_prevote",
        "is_free = self.locked_round <= proposal.valid_round or self.locked_hash == block.hash",
        "is_free = True",
    )
